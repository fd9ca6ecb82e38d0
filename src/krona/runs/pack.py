"""Pack finished runs into one compressed file, and unpack the file for reports.

A pack contains the results and predictions of the finished runs in an outputs folder, and the folder's lists of runs
and studies. A pack is small enough for a repository. It contains no texts of the data, no local paths, no settings of
loggers, and no name of a computer.
"""

import atexit
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from krona.messages import KronaError
from krona.metrics.scores import need_scores
from krona.runs.folder import RunFolder
from krona.runs.predictions import score_metrics
from krona.runs.result import CHECKSUMS, Result
from krona.runs.run_id import PATH_KEYS
from krona.safe_files import write_whole
from krona.secrets_in_text import strip_folders

SUFFIX = ".tar.xz"
PREFIX = "krona-pack-"  # in the names of temporary folders
# The packed columns of predictions.jsonl. Probabilities take space, so they are packed only if the score needs them.
KEPT = ("split", "id", "target", "prediction", "group")


def pack(outputs: Path, file: Path) -> int:
    """Pack the finished runs of an outputs folder into ``file``, and return the number of runs.

    Raises:
        KronaError: no run is finished, a run is damaged, or the file's name does not end in .tar.xz.
    """
    if not file.name.endswith(SUFFIX):
        raise KronaError(f"{file} must end in {SUFFIX}.")
    contents = dict(_contents(outputs))
    count = sum(name.endswith("/result.json") for name in contents)
    if not count:
        raise KronaError(f"{outputs} has no finished run.")

    def write(part: Path) -> None:
        with tarfile.open(part, "w:xz") as archive:
            for name, text in contents.items():
                content = text.encode()
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))

    write_whole(file, write)
    return count


def _contents(outputs: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file of a pack."""
    for path in sorted(outputs.glob("*/result.json")):
        run = RunFolder(path.parent)
        if not run.is_written_by_krona():
            continue
        result = run.read()
        if result.status != "done":
            continue
        _remove_local(result)
        yield f"{result.run_id}/{path.name}", json.dumps(result.model_dump(), indent=1, ensure_ascii=False)
        if run.predictions.exists():
            rows = map(json.loads, run.predictions.read_text(encoding="utf-8").splitlines())
            names = [*KEPT, *(["scores"] if need_scores(score_metrics(result.config["task"])) else [])]
            kept = [json.dumps({name: row[name] for name in names if name in row}, ensure_ascii=False) for row in rows]
            yield f"{result.run_id}/{run.predictions.name}", "".join(f"{line}\n" for line in kept)
    for path in sorted(outputs.glob("sweeps/*.runs.txt")):
        yield path.relative_to(outputs).as_posix(), path.read_text(encoding="utf-8")
    for path in sorted(outputs.glob("studies/*.journal")):
        lines = [*map(json.loads, path.read_text(encoding="utf-8").splitlines())]
        for line in lines:
            if "error" in line.get("user_attr", {}):
                line["user_attr"] = {"error": ""}  # an error may quote a row
        text = "".join(json.dumps(_strip(line), separators=(",", ":")) + "\n" for line in lines)
        yield path.relative_to(outputs).as_posix(), text


def _remove_local(result: Result) -> None:
    """Remove local paths, the name of the computer, and checksums from a result."""
    config = result.config
    for group, key in (path_key.split(".") for path_key in PATH_KEYS):
        if (config.get(group) or {}).get(key) is not None:
            config[group][key] = None
    if files := (config.get("task") or {}).get("files"):
        named = {"train": files} if isinstance(files, str) else files  # as in `krona.tasks.Task`
        config["task"]["files"] = {part: Path(file).name for part, file in named.items()}
    if config.get("init_from") is not None:
        config["init_from"] = Path(config["init_from"]).name
    result.config = {**_strip(config), "logger": {}}
    result.notes, result.row = _strip(result.notes), _strip(result.row)
    for key in (CHECKSUMS, "host"):  # the checksums of the original files do not fit the packed files
        result.provenance.pop(key, None)  # type: ignore[misc]


def _strip(value: object) -> Any:
    """Return a copy of a value without the folders of absolute paths."""
    if isinstance(value, dict):
        return {key: _strip(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strip(item) for item in value]
    return strip_folders(value) if isinstance(value, str) else value


def unpacked_folder(path: Path) -> Path:
    """Return an outputs folder: ``path``, or a temporary folder with the contents of the pack at ``path``.

    Raises:
        KronaError: the pack is damaged.
    """
    return _unpack(path) if path.name.endswith(SUFFIX) and path.is_file() else path


@cache
def _unpack(file: Path) -> Path:
    folder = mkdtemp(prefix=PREFIX)
    atexit.register(shutil.rmtree, folder)
    try:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
    except (OSError, EOFError, tarfile.TarError) as error:
        raise KronaError(f"{file} cannot be unpacked: {error}") from error
    return Path(folder)
