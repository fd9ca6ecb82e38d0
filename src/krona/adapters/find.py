"""Find a trained adapter and its origin (run, task and backbone) by run id, folder or file."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from krona import paths
from krona.adapters.adapter import AdapterConfig
from krona.adapters.origin import NOTE, Origin
from krona.messages import KronaError, amount, did_you_mean, first_few
from krona.runs import file_names
from krona.runs.folder import find_run, require_unchanged
from krona.runs.frame import stored_results
from krona.runs.result import Result, read_result
from krona.runs.sweep import load_run_ids

MAX_LISTED = 10  # maximum number of runs in a message


@dataclass(frozen=True)
class TrainedRun:
    """A finished run, or an adapter file with its origin."""

    origin: Origin
    adapter: Path | None  # the adapter file, or None if the run trained no parameters
    result: Result | None  # the run's result, or None for an adapter file outside of a run's folder
    folder: Path | None = None  # the folder of the run or of the adapter file


def find(run: str | Path | Result, *, outputs: Path | str | None = None) -> TrainedRun:
    """Return a finished run with its adapter, or an adapter file with its origin.

    Args:
        run: a run's id, the beginning of its id, its folder or its result, or an adapter file.
        outputs: the folder that contains the runs. None means outputs/.

    Raises:
        KronaError: the run was not found or is not finished, its weights were not kept, or a file is damaged.
    """
    name = run.run_id if isinstance(run, Result) else run
    path = Path(name)
    if os.path.isdir(path) and not (path / file_names.RESULT).is_file():
        path /= file_names.ADAPTER
    # unlike pathlib, os.path does not raise an error if the name is too long
    if os.path.isfile(path) and path.name != file_names.RESULT:
        return _from_file(path)
    folder = find_run(Path(outputs or paths.OUTPUTS), str(name)).path
    result = read_result(folder / file_names.RESULT)
    if result.status != "done":
        raise KronaError(
            f"{result.run_id} is not finished. Its status is {result.status} ({result.reached}). To resume the "
            "run, repeat the command that started it."
        )
    origin, adapter = Origin.of_result(result), folder / file_names.ADAPTER
    if adapter.is_file():
        require_unchanged(result, adapter)
        return TrainedRun(origin, adapter, result, folder)
    if not result.trainable_params and not result.head_params:
        return TrainedRun(origin, None, result, folder)
    raise KronaError(
        f"{adapter} was not found. To create it, repeat the command that started the run, with keep=all overwrite=true."
    )


def choose_runs(runs: Sequence[str] | None, best: str | None) -> list[str]:
    """Return the runs of a command: the given names, or the run of the sweep ``best`` with the highest dev score.

    Raises:
        KronaError: neither or both are given, or the sweep has no finished run or runs of several tasks.
    """
    if runs and best is not None:
        raise KronaError(f"{' '.join(runs)} and --best {best} are two choices. Give only one of them.")
    if runs:
        return [*runs]
    done = [
        run for run in stored_results(paths.OUTPUTS) if isinstance(run, Result) and run.status == "done" and run.dev
    ]
    if best is None:
        newest = sorted(done, key=lambda run: str(run.provenance.get("finished")), reverse=True)
        listed = first_few([run.run_id for run in newest], MAX_LISTED)
        known = f"The finished runs are: {', '.join(listed)}." if listed else f"{paths.OUTPUTS} has no finished run."
        raise KronaError(f"No run was given. Give the beginning of a run's id, or --best SWEEP. {known}")
    names = load_run_ids(paths.OUTPUTS, best)
    of_sweep = [run for run in done if run.config.get("sweep") == best or run.run_id in names]
    if not of_sweep:
        sweeps = sorted({str(run.config["sweep"]) for run in done if run.config.get("sweep")})
        raise KronaError(f"The sweep {best} has no finished run: {did_you_mean(best, sweeps)}.")
    if len(tasks := sorted({run.task for run in of_sweep})) > 1:
        raise KronaError(f"The sweep {best} has runs of several tasks ({', '.join(tasks)}). Give the name of a run.")
    first = max(of_sweep, key=lambda run: run.dev["score"] if run.dev else 0.0)
    assert first.dev is not None
    print(
        f"The best of {amount(len(of_sweep), 'run')} of {best} on dev is {first.run_id} ({first.dev['score']:.2f}).",
        file=sys.stderr,
    )
    return [first.run_id]


def _from_file(path: Path) -> TrainedRun:
    notes = AdapterConfig.read(path).notes
    if NOTE not in notes:
        raise KronaError(
            f"{path} does not record its task and backbone, because no run wrote it. Use krona.Adapter.load in Python."
        )
    origin = Origin.parse(notes[NOTE], f"The entry `{NOTE}` in the header of {path}")
    beside, result = path.parent / file_names.RESULT, None
    if beside.is_file() and origin.run_id == path.parent.name:
        result = read_result(beside)
        require_unchanged(result, path)
    return TrainedRun(origin, path, result, path.parent)
