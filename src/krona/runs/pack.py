"""Pack finished runs into one compressed file, and unpack the file for reports.

A pack contains the results and predictions of the finished runs in an outputs folder, and the folder's lists of runs
and studies. A pack contains neither texts of the data nor absolute paths, and is small enough for a repository.
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

from krona.messages import KronaError
from krona.runs.folder import RunFolder
from krona.runs.result import CHECKSUMS
from krona.runs.run_id import PLACES, find_value
from krona.safe_files import write_whole

ENDING = ".tar.xz"
PREFIX = "krona-pack-"  # in the names of temporary folders
KEPT = ("split", "id", "target", "prediction", "group")  # the packed columns of predictions.jsonl
LISTS = ("sweeps/*.runs.txt", "studies/*.journal")


def pack(outputs: Path, file: Path) -> int:
    """Pack the finished runs of an outputs folder into ``file``, and return the number of runs.

    Raises:
        KronaError: no run is finished, a run is damaged, or the file's name does not end in .tar.xz.
    """
    if not file.name.endswith(ENDING):
        raise KronaError(f"{file} must end in {ENDING}.")
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
    places: dict[str, str] = {}  # maps absolute paths of data and weights to their replacements
    for path in sorted(outputs.glob("*/result.json")):
        run = RunFolder(path.parent)
        if not run.is_written_by_krona():
            continue
        result = run.read()
        if result.status != "done":
            continue
        found = (find_value(result.config, key) for key in PLACES)
        places |= {place: Path(place).name for place in found if isinstance(place, str)}
        result.provenance.pop(CHECKSUMS, None)  # the checksums of the original files do not fit the packed files
        text = json.dumps(result.model_dump(), indent=1, ensure_ascii=False)
        yield f"{result.run_id}/{path.name}", _replace(text, places)
        if run.predictions.exists():
            rows = map(json.loads, run.predictions.read_text(encoding="utf-8").splitlines())
            kept = [json.dumps({name: row[name] for name in KEPT if name in row}, ensure_ascii=False) for row in rows]
            yield f"{result.run_id}/{run.predictions.name}", "".join(f"{line}\n" for line in kept)
    for pattern in LISTS:
        for path in sorted(outputs.glob(pattern)):
            text = path.read_text(encoding="utf-8")
            yield path.relative_to(outputs).as_posix(), _replace(text, places)


def _replace(text: str, places: dict[str, str]) -> str:
    for place in sorted(places, key=len, reverse=True):
        text = text.replace(json.dumps(place)[1:-1], places[place])
    return text


def runs_folder(path: Path) -> Path:
    """Return an outputs folder: ``path``, or a temporary folder with the contents of the pack at ``path``.

    Raises:
        KronaError: the pack is damaged.
    """
    return _unpack(path) if path.name.endswith(ENDING) and path.is_file() else path


def is_unpacked(path: Path) -> bool:
    """Return whether a file is in the temporary folder of a pack, which is removed when the process ends."""
    return any(part.startswith(PREFIX) for part in path.parts)


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
