"""`krona import`: a folder of peft's as an adapter's file of krona."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from krona.adapters.adapter import Adapter
from krona.adapters.commands.card import ORIGIN
from krona.adapters.find import ADAPTER
from krona.adapters.origin import Origin
from krona.adapters.peft.folder import open_folder
from krona.adapters.peft.names import CONFIG
from krona.adapters.peft.reading import read_peft
from krona.backbones.families import max_positions
from krona.backbones.shared import shared_backbone
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import normalize
from krona.messages import KronaError
from krona.runs.folder import require_new


def import_peft(
    folder: Path, out: Path, *, overrides: Sequence[str], backbone: str | None, overwrite: bool
) -> list[str]:
    """Read a peft adapter onto its backbone, write krona's file of it, and return lines for the user.

    Args:
        out: a ``.safetensors`` file.
        overrides: the task and the backbone as train.py takes them. A folder that krona exported names both.
        backbone: its folder, if it is not where that says.

    Raises:
        KronaError: not a peft adapter, a pickle, a setting that krona can't express, another backbone.
    """
    require_adapter_name(out)
    require_new(out, overwrite=overwrite)
    if not folder.is_dir():
        raise KronaError(f"{folder}: folder not found.")
    if not (folder / CONFIG).is_file():
        raise KronaError(f"{folder}: no adapter_config.json in it, so it is not a folder of peft.")
    open_folder(folder)  # its errors before the backbone's
    origin = _read_origin(folder, overrides)
    if backbone is not None:
        origin = replace(origin, backbone={**origin.backbone, "path": backbone})
    loaded = shared_backbone(origin.backbone_settings, origin.task_settings, seed=origin.seed, bf16=False)
    model: Any = loaded.model
    loaded.family.check_length(max_positions(model.config), source=origin.max_source_length, answer=0)
    read = read_peft(model, folder)
    read.adapter.insert(model)
    Adapter.of(model, notes=origin.as_note()).save(out)
    saved = f", {len(read.modules_to_save)} modules (norms, a head) whole" if read.modules_to_save else ""
    return [
        f"{out}: peft's {read.peft_type} at {read.places} places{saved}, of task {origin.task_settings.name} on "
        f"{origin.backbone_settings.name}",
        f"next: krona predict {out} --input FILE",
    ]


def require_adapter_name(out: Path) -> None:
    """Raise `KronaError` for a file that is not named as an adapter is."""
    if out.suffix != ".safetensors":
        raise KronaError(f"--out {out}: expected a .safetensors file, such as {out}/{ADAPTER}.")


def _read_origin(folder: Path, overrides: Sequence[str]) -> Origin:
    """Return the origin of the overrides, or the one that krona wrote beside the adapter."""
    beside = folder / ORIGIN
    if overrides:
        if not any(item.startswith("backbone=") for item in overrides):
            raise KronaError(f"{folder}: name its backbone too, as for train.py: backbone=bert_base.")
        with hydra_session():
            config = compose_job(normalize([*overrides, "method=untuned"])).config
        values = {key: config[key] for key in ("seed", "task", "backbone", "max_source_length")}
        return Origin(run_id=folder.name, method="peft", task_prefix=False, **values)
    if not beside.is_file():
        raise KronaError(
            f"{folder} does not say its task and backbone. Add them as for train.py: task=rte backbone=bert_base."
        )
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise KronaError(f"{beside} can't be read: {error}") from error
    return Origin.parse(text, str(beside))
