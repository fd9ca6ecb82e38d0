"""`krona import`: a folder of peft's as an adapter's file of krona's."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from krona.adapters.commands.card import ORIGIN
from krona.adapters.file import save_adapter
from krona.adapters.find import ADAPTER
from krona.adapters.origin import Origin, parsed
from krona.adapters.peft import read_peft
from krona.adapters.peft.folder import open_folder
from krona.adapters.peft.names import CONFIG
from krona.backbones.families import max_positions
from krona.backbones.shared import shared_backbone
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import normalised
from krona.messages import KronaError
from krona.outputs.output_file import require_new


def import_peft(
    folder: Path, out: Path, *, overrides: Sequence[str], backbone: str | None, overwrite: bool
) -> list[str]:
    """Read a peft adapter onto its backbone and write krona's file of it; what was read, in words.

    Args:
        out: a ``.safetensors`` file.
        overrides: the task and the backbone as train.py takes them. A folder that krona exported says both itself.
        backbone: its folder, if it is not where that says.

    Raises:
        KronaError: no peft adapter, a pickle, a setting that krona can't express, another backbone.
    """
    if out.suffix != ".safetensors":
        raise KronaError(f"--out {out}: a .safetensors file, such as {out}/{ADAPTER}")
    require_new(out, overwrite=overwrite)
    if not folder.is_dir():
        raise KronaError(f"{folder}: no such folder")
    if not (folder / CONFIG).is_file():
        raise KronaError(f"{folder}: no adapter_config.json in it, so it is no folder of peft's")
    open_folder(folder)  # its errors before the backbone's
    origin = _origin(folder, overrides)
    settings = origin.backbone_settings
    if backbone is not None:
        settings = replace(settings, path=backbone)
        origin = replace(origin, backbone={**origin.backbone, "path": backbone})
    loaded = shared_backbone(settings, origin.task_settings, seed=origin.seed, bf16=False)
    model: Any = loaded.model
    loaded.family.check_length(max_positions(model.config), source=origin.max_source_length, answer=0)
    read = read_peft(model, folder)
    save_adapter(model, out, notes=origin.as_note())
    saved = f", {len(read.modules_to_save)} modules (norms, a head) whole" if read.modules_to_save else ""
    return [
        f"{out}: peft's {read.peft_type} at {read.places} places{saved}, of task {origin.task_settings.name} on "
        f"{settings.name}",
        f"next: krona predict {out} --input FILE",
    ]


def _origin(folder: Path, overrides: Sequence[str]) -> Origin:
    """The origin of the overrides, or the one that krona wrote beside the adapter."""
    beside = folder / ORIGIN
    if overrides:
        if not any(item.startswith("backbone=") for item in overrides):
            raise KronaError(f"{folder}: name its backbone too, as for train.py: backbone=bert_base")
        with hydra_session():
            config = compose_job(normalised([*overrides, "method=untuned"])).config
        values = {key: config[key] for key in ("seed", "task", "backbone", "max_source_length")}
        return Origin(run_id=folder.name, method="peft", task_prefix=False, **values)
    if not beside.is_file():
        raise KronaError(
            f"{folder} does not say its task and backbone: add them as for train.py: task=rte backbone=bert_base"
        )
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise KronaError(f"{beside} makes no sense: {error}") from error
    return parsed(text, str(beside))
