"""Find a trained adapter and its origin (run, task and backbone) by run id, folder or file."""

import os
from dataclasses import dataclass
from pathlib import Path

from krona import paths
from krona.adapters.adapter import AdapterConfig
from krona.adapters.origin import NOTE, Origin
from krona.messages import KronaError
from krona.runs import file_names
from krona.runs.folder import find_run, require_unchanged
from krona.runs.result import Result, read_result


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


def _from_file(path: Path) -> TrainedRun:
    notes = AdapterConfig.read(path).notes
    if NOTE not in notes:
        raise KronaError(
            f"{path} does not record its task and backbone, because no run wrote it. Use krona.Adapter.load in Python."
        )
    origin = Origin.parse(notes[NOTE], f"The entry `{NOTE}` in the header of {path}")
    result_file, result = path.parent / file_names.RESULT, None
    if result_file.is_file() and origin.run_id == path.parent.name:
        result = read_result(result_file)
        require_unchanged(result, path)
    return TrainedRun(origin, path, result, path.parent)
