"""`krona import`: convert a peft folder to krona's adapter file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from krona.adapters.adapter import Adapter
from krona.adapters.export import ORIGIN, TOLERANCE, compare_logits, sample_logits
from krona.adapters.find import TrainedRun
from krona.adapters.origin import Origin, compose
from krona.adapters.peft.folder import check_folder
from krona.adapters.peft.reading import read_peft
from krona.adapters.predictor import Predictor, load_backbone
from krona.messages import KronaError, plural
from krona.runs.file_names import ADAPTER
from krona.runs.folder import require_new


def import_peft(
    folder: Path, out: Path, *, overrides: Sequence[str], backbone: str | None, overwrite: bool
) -> list[str]:
    """Convert a peft adapter to krona's adapter file, check the logits, and return messages for the user.

    Args:
        overrides: the task and the backbone, in the syntax of train.py. A folder that krona exported needs no
            overrides, because it contains krona.json.
        backbone: the folder of the backbone, if the path in krona.json is wrong.

    Raises:
        KronaError: ``out`` exists or does not end with .safetensors, the task or the backbone is unknown, the folder
            has an unsupported setting or a pickle file, or the adapter's logits in krona and in peft differ.
    """
    if out.suffix != ".safetensors":
        name = out / ADAPTER if out.is_dir() else out.with_suffix(".safetensors")
        raise KronaError(f"--out {out} is not the name of a .safetensors file. Use a name such as {name}.")
    require_new(out, overwrite=overwrite)
    check_folder(folder)  # report errors of the folder before the backbone is loaded
    origin = _read_origin(folder, overrides).with_backbone(backbone)
    loaded = load_backbone(origin)
    model = loaded.model
    read = read_peft(model, folder)
    read.adapter.insert(model)
    model.eval()  # type: ignore[no-untyped-call]
    trained = Predictor(TrainedRun(origin, None, None), model, loaded.family)
    expected: Any = read.model
    difference = compare_logits(replace(trained, model=expected), sample_logits(trained))
    if not difference <= TOLERANCE["fp32"]:
        raise KronaError(
            f"{folder} was not imported, because the logits in krona and in peft differ by {difference:.2g} times the "
            "largest logit."
        )
    Adapter.of(model, notes=origin.as_note()).save(out)
    modules = f" at {plural(read.num_modules, 'module')}" if read.num_modules else ""
    complete = plural(len(read.modules_to_save), "complete module")
    saved = f" and {complete} (LayerNorms or a head)" if read.modules_to_save else ""
    return [
        f"{out} contains peft's {read.peft_type}{modules}{saved}, for task {origin.task_settings.name} and backbone "
        f"{origin.backbone['name']}.",
        "The logits match those of peft"
        f"{f' (differences up to {difference:.1e} times the largest logit)' if difference else ''}.",
        f"Next: krona predict {out} --input FILE",
    ]


def _read_origin(folder: Path, overrides: Sequence[str]) -> Origin:
    beside = folder / ORIGIN
    if overrides:
        if not any(item.startswith("backbone=") for item in overrides):
            raise KronaError(f"The backbone of {folder} is not given. Add an override such as backbone=bert_base.")
        config = compose([*overrides, "method=untuned"])
        values = {key: config[key] for key in ("seed", "task", "backbone", "max_source_length")}
        return Origin(run_id=folder.name, method="peft", task_prefix=False, **values)
    if not beside.is_file():
        raise KronaError(
            f"{folder} does not record its task and backbone. Add overrides such as task=rte backbone=bert_base."
        )
    return Origin.parse(beside.read_bytes(), str(beside))
