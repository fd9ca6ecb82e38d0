"""`krona merge`: write the weighted sum of several adapters of one backbone to one file."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from krona.adapters.adapter import Adapter
from krona.adapters.commands.import_peft import require_adapter_file
from krona.adapters.find import TrainedRun
from krona.adapters.fingerprint import OtherBackboneError
from krona.adapters.load import load_backbone
from krona.adapters.origin import compose
from krona.adapters.weighted_sum import combine
from krona.messages import KronaError
from krona.safe_files import parse_json

INTO = "sum"
NOTE = "krona_merge"  # the key in the file's header; the value is a dict from runs to weights


def merge(
    runs: Sequence[TrainedRun],
    out: Path,
    *,
    weights: Sequence[float] | None = None,
    task: str | None = None,
    backbone: str | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write the weighted sum of adapters (`krona.adapters.weighted_sum`) to a file, and return lines for the user.

    Each adapter also changed the weights of LayerNorms and of a head. The weighted sum of these changes is added to the
    original weights. For a new head, the original weights are the random weights that the first run's seed gives.

    Args:
        weights: the weight of each run in the sum. None means equal weights that sum to 1.
        task: the name of the task for which the merged adapter predicts. None means the task of the first run.

    Raises:
        KronaError: the backbones differ, or the sum of the updates cannot be stored exactly as one adapter.
    """
    require_adapter_file(out, overwrite=overwrite)
    _check_runs(runs, weights)
    shares = weights or [1 / len(runs)] * len(runs)
    origin = replace(runs[0].origin.with_backbone(backbone), run_id=out.stem, scores={})
    if task is not None:
        origin = replace(origin, task=compose([f"task={task}"])["task"])
    model = load_backbone(origin).model
    names = _adapter_names(runs)
    for name, run in zip(names, runs, strict=True):
        assert run.adapter is not None
        try:
            Adapter.load(run.adapter).insert(model, name=name)
        except OtherBackboneError as error:
            raise KronaError(
                f"merge needs adapters of the same backbone, {origin.backbone['name']}. {error}"
            ) from error
    combine(model, dict(zip(names, shares, strict=True)), into=INTO)
    ids = [run.origin.run_id for run in runs]
    notes = {NOTE: json.dumps(dict(zip(ids, shares, strict=True)))}
    merged = Adapter.of(model, INTO, notes=origin.as_note() | notes)
    merged.save(out)
    config = merged.config
    kind = "no branches" if config.branch is None else config.branch.rpartition(".")[2]
    size = config.branch_config.get("rank", config.branch_config.get("terms"))
    parts = " + ".join(f"{share:g} × {run_id}" for share, run_id in zip(shares, ids, strict=True))
    return [
        f"{out}: {parts}",
        f"{kind}{f' (rank or number of terms: {size})' if size else ''}, for task {origin.task_settings.name}",
        "The sum of the updates is exact.",
        f"krona evaluate {out}",
    ]


def merged_runs(notes: Mapping[str, str], file: Path) -> dict[str, float]:
    """Return the weight of each run in the sum that `krona merge` wrote. The dict is empty for other files."""
    try:
        return {str(run): float(weight) for run, weight in parse_json(notes.get(NOTE, "{}")).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise KronaError(f"The entry `{NOTE}` in the header of {file} is invalid: {error}") from error


def parse_weights(text: str | None) -> list[float] | None:
    """Return the numbers in a text such as ``0.5,0.5``. If the text is None, return None."""
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise KronaError(
            f"--weights {text} is not a list of numbers. Use numbers with commas between them, such as 0.5,0.5."
        ) from error


def _check_runs(runs: Sequence[TrainedRun], weights: Sequence[float] | None) -> None:
    if len(runs) < 2:
        raise KronaError("merge needs at least two runs.")
    ids = [run.origin.run_id for run in runs]
    if twice := [run_id for run_id in dict.fromkeys(ids) if ids.count(run_id) > 1]:
        raise KronaError(f"{twice[0]} is given twice. Give it once, with the sum of its weights.")
    if weights is not None and len(weights) != len(runs):
        raise KronaError(
            f"--weights has {len(weights)} numbers, but there are {len(runs)} runs. Give one number for each run."
        )
    for run in runs:
        if run.adapter is None:
            raise KronaError(f"{run.origin.run_id} trained nothing, so there is no adapter to merge.")


def _adapter_names(runs: Sequence[TrainedRun]) -> list[str]:
    plain = [re.sub(r"[^\w-]", "_", run.origin.run_id) for run in runs]
    return plain if len(set(plain)) == len(plain) else [f"{number}-{name}" for number, name in enumerate(plain, 1)]
