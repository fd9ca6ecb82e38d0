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
        folder: the peft folder.
        out: the ``.safetensors`` file to write.
        overrides: the task and the backbone, in the syntax of train.py. They are not needed for a folder that krona
            exported, because krona.json in this folder contains both.
        backbone: the folder of the backbone, if the path in krona.json is wrong.

    Raises:
        KronaError: the folder is not a peft folder, contains a pickle file or an unsupported setting, or belongs to
            another backbone.
    """
    require_adapter_file(out, overwrite=overwrite)
    if not folder.is_dir():
        raise KronaError(f"The folder {folder} was not found.")
    if not (folder / CONFIG).is_file():
        raise KronaError(f"{folder} contains no adapter_config.json, so it is not a peft folder.")
    open_folder(folder)  # raises errors in the folder before the backbone is loaded
    origin = _read_origin(folder, overrides).with_backbone(backbone)
    model = load_backbone(origin).model
    read = read_peft(model, folder)
    read.adapter.insert(model)
    Adapter.of(model, notes=origin.as_note()).save(out)
    saved = f" and {len(read.modules_to_save)} complete modules (LayerNorms or a head)" if read.modules_to_save else ""
    return [
        f"{out} contains peft's {read.peft_type} at {read.places} modules{saved}, for task {origin.task_settings.name} "
        f"and backbone {origin.backbone['name']}.",
        f"Next: krona predict {out} --input FILE",
    ]


def require_adapter_file(out: Path, *, overwrite: bool) -> None:
    """Raise KronaError if the name does not end with .safetensors, or if the file exists and ``overwrite`` is false."""
    if out.suffix != ".safetensors":
        raise KronaError(f"--out {out} is not the name of a .safetensors file. Use a name such as {out}/{ADAPTER}.")
    require_new(out, overwrite=overwrite)


def _read_origin(folder: Path, overrides: Sequence[str]) -> Origin:
    beside = folder / ORIGIN
    if overrides:
        if not any(item.startswith("backbone=") for item in overrides):
            raise KronaError(
                f"The backbone of {folder} is not given. Add it as for train.py, such as backbone=bert_base."
            )
        config = compose([*overrides, "method=untuned"])
        values = {key: config[key] for key in ("seed", "task", "backbone", "max_source_length")}
        return Origin(run_id=folder.name, method="peft", task_prefix=False, **values)
    if not beside.is_file():
        raise KronaError(
            f"{folder} does not record its task and backbone. Add them as for train.py, such as task=rte "
            "backbone=bert_base."
        )
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise KronaError(f"{beside} cannot be read: {error}") from error
    return Origin.parse(text, str(beside))
