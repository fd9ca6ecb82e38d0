"""The adapter and the origin behind what a user names: a run, its folder, or an adapter's file."""

from dataclasses import dataclass
from pathlib import Path

from krona.adapters.file import read_header
from krona.adapters.origin import Origin, origin_in, origin_noted
from krona.messages import KronaError
from krona.outputs import names
from krona.outputs.folder import find_run, require_unchanged
from krona.outputs.result import Result, read_result
from krona.paths import OUTPUTS

ADAPTER = names.ADAPTER


@dataclass(frozen=True)
class Found:
    """adapter: None where nothing trained. result: None where there is only the adapter's file."""

    origin: Origin
    adapter: Path | None
    result: Result | None


def find(run: str | Path, *, outputs: Path | None = None) -> Found:
    """A finished run by its id, the beginning of it, or its folder; or an adapter's file by its path.

    Raises:
        KronaError: no such run, an unfinished one, weights that were not kept, a damaged file.
    """
    path = Path(run)
    if path.is_file() and path.name != names.RESULT:
        return _of_file(path)
    if path.is_dir() and not (path / names.RESULT).is_file() and (path / ADAPTER).is_file():
        return _of_file(path / ADAPTER)
    folder = find_run(outputs or OUTPUTS, str(run)).path
    result = read_result(folder / names.RESULT)
    if result.status != "done":
        raise KronaError(
            f"{result.run_id} is not finished: it is {result.status}, {result.reached}. The command that started it "
            "resumes it"
        )
    origin, adapter = origin_in(result), folder / ADAPTER
    if adapter.is_file():
        require_unchanged(result, adapter)
        return Found(origin, adapter, result)
    if not result.trainable_params and not result.head_params:
        return Found(origin, None, result)
    if result.config["method"].get("train_backbone"):
        raise KronaError(
            f"{result.run_id} trained the whole backbone, and its weights were not kept: the same command with "
            "keep=all overwrite=true trains it again and keeps them"
        )
    raise KronaError(f"{adapter} is gone: the run's command with overwrite=true makes it again")


def _of_file(path: Path) -> Found:
    _, notes = read_header(path)
    origin = origin_noted(notes, path)
    beside = path.parent / names.RESULT
    if beside.is_file() and (origin is None or origin.run_id == path.parent.name):
        result = read_result(beside)
        require_unchanged(result, path)
        return Found(origin or origin_in(result), path, result)
    if origin is None:
        raise KronaError(
            f"{path} does not say which task and backbone it was trained on, and no result.json is beside it: name the "
            "run's folder, or write the file again with this version"
        )
    return Found(origin, path, None)
