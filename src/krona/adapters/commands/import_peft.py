"""`krona import`: convert a peft folder to an adapter's file of krona."""

from collections.abc import Sequence
from pathlib import Path

from krona.adapters.adapter import Adapter
from krona.adapters.commands.model_card import ORIGIN
from krona.adapters.find import ADAPTER
from krona.adapters.load import load_backbone
from krona.adapters.origin import Origin, compose
from krona.adapters.peft.folder import open_folder
from krona.adapters.peft.module_names import CONFIG
from krona.adapters.peft.reading import read_peft
from krona.messages import KronaError
from krona.runs.folder import require_new


def import_peft(
    folder: Path, out: Path, *, overrides: Sequence[str], backbone: str | None, overwrite: bool
) -> list[str]:
    """Convert a peft adapter to an adapter's file of krona, and return lines for the user. The backbone is loaded.

    Args:
        out: a ``.safetensors`` file.
        overrides: overrides of train.py that name the task and the backbone. They are not needed for a folder that
            krona exported, because its origin names both.
        backbone: the folder of the backbone, if the backbone is not where the origin says.

    Raises:
        KronaError: the folder is not a peft adapter, contains a pickle or a setting that krona does not support, or
            belongs to another backbone.
    """
    require_adapter_file(out, overwrite=overwrite)
    if not folder.is_dir():
        raise KronaError(f"{folder}: folder not found.")
    if not (folder / CONFIG).is_file():
        raise KronaError(f"{folder}: no adapter_config.json in it, so it is not a folder of peft.")
    open_folder(folder)  # so that errors in the folder are raised before the backbone is loaded
    origin = _read_origin(folder, overrides).with_backbone(backbone)
    model = load_backbone(origin).model
    read = read_peft(model, folder)
    read.adapter.insert(model)
    Adapter.of(model, notes=origin.as_note()).save(out)
    saved = f", {len(read.modules_to_save)} complete modules (norms, a head)" if read.modules_to_save else ""
    return [
        f"{out}: peft's {read.peft_type} at {read.places} places{saved}, of task {origin.task_settings.name} on "
        f"{origin.backbone['name']}",
        f"next: krona predict {out} --input FILE",
    ]


def require_adapter_file(out: Path, *, overwrite: bool) -> None:
    """Raise `KronaError` if the name does not end with .safetensors, or if the file exists and must not be replaced."""
    if out.suffix != ".safetensors":
        raise KronaError(f"--out {out}: expected a .safetensors file, such as {out}/{ADAPTER}.")
    require_new(out, overwrite=overwrite)


def _read_origin(folder: Path, overrides: Sequence[str]) -> Origin:
    beside = folder / ORIGIN
    if overrides:
        if not any(item.startswith("backbone=") for item in overrides):
            raise KronaError(f"{folder}: name its backbone too, as for train.py: backbone=bert_base.")
        config = compose([*overrides, "method=untuned"])
        values = {key: config[key] for key in ("seed", "task", "backbone", "max_source_length")}
        return Origin(run_id=folder.name, method="peft", task_prefix=False, **values)
    if not beside.is_file():
        raise KronaError(
            f"{folder} does not say its task and backbone. Add them as for train.py: task=rte backbone=bert_base."
        )
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise KronaError(f"{beside} cannot be read: {error}") from error
    return Origin.parse(text, str(beside))
