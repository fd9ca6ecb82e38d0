"""Read the summaries of all results, with a cache. With the cache, 100,000 runs are read in seconds.

A cached summary is used only if its result.json still has the same modification time and size. All other results are
read from their result.json.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.runs import file_names
from krona.runs.cache import read_cache, write_cache
from krona.runs.predictions import DamagedRunError, check_answers
from krona.runs.result import CHECKSUMS, Result, read_result

FILE = "results.json"
VERSION = "4"
WORTH = 100  # smallest number of new summaries that is stored
SETTLED_S = 2.0  # a file that is younger than this may change again without a change of its time stamp
FIELDS = tuple(Result.model_fields)
# Many results have equal values in these fields, so equal values are stored only once.
SHARED = tuple(map(FIELDS.index, ("config", "splits", "progress", "provenance")))
OWN = ("seed",)  # keys of these fields whose values are stored with each result
CONFIG = ("method", "task", "backbone", "data", "optimizer", "trainer", "batch_size")  # keys that every report reads

Stamp = list[int]  # mtime in ns, size
Entry = tuple[Stamp, list[Any]]  # a stamp, and the values of `SummaryParts.separate`


def summaries(outputs: Path) -> list[Result | DamagedRunError]:
    """Return a list of the summaries of all ``<run id>/result.json`` under ``outputs``, sorted by run id.

    A summary is a result without the fields that `strip_result` removes. If a result can't be read, or if its scores
    contradict its predictions, the list contains an error instead of the summary. Errors of unreadable folders are at
    the end of the list. The summaries share objects, so do not change them.
    """
    if not outputs.is_dir():
        return []
    with _without_garbage_collection():
        stamps, unreadable = _read_stamps(outputs)
        parts, entries = _load(outputs, stamps)
        found: dict[str, Result | DamagedRunError] = {name: parts.join(entry[1]) for name, entry in entries.items()}
        known = len(entries)
        now = time.time()
        try:
            for name in _with_progress(sorted(stamps.keys() - found.keys())):
                found[name] = item = _read(outputs / name / file_names.RESULT)
                if isinstance(item, DamagedRunError):
                    continue
                values = parts.separate(item)
                found[name] = parts.join(values)
                if now - stamps[name][0] / 1e9 > SETTLED_S and item.status != "running":
                    entries[name] = (stamps[name], values)
        finally:  # an interrupted command keeps the summaries that it has read
            if len(entries) >= known + WORTH:
                write_cache(outputs, FILE, [parts.parts, entries], version=VERSION)
        return [found[name] for name in sorted(stamps)] + unreadable


def strip_result(result: Result) -> Result:
    """Return a copy of a result with only the scores of its last epoch.

    Predictions, scores of single metrics, checksums, start and end, and measures of layers are removed.
    """

    def without(part: Mapping[str, Any] | None, *keys: str) -> Any:
        return part and {name: value for name, value in part.items() if name not in keys}

    rows = [without(row, "parts", "choice", "loss", "lr", "examples_per_s") for row in result.dev_curve[-1:]]
    kept = {
        "dev": without(result.dev, "outcomes", "parts"),
        "test": without(result.test, "outcomes", "parts"),
        "provenance": without(result.provenance, CHECKSUMS, "started", "finished"),
        "learned": without(result.learned, "by_place"),
        "dev_curve": rows,
    }
    return result.model_copy(update=kept)


def _read(path: Path) -> Result | DamagedRunError:
    try:
        result = read_result(path)
        if lacking := [key for key in CONFIG if result.config.get(key) is None]:
            raise KronaError(f"{path} is not a result. Its config lacks {', '.join(lacking)}.")
        check_answers(result, path)
    except KronaError as error:
        return DamagedRunError(str(error), path.parent.name)
    return strip_result(result)


def _read_stamps(outputs: Path) -> tuple[dict[str, Stamp], list[DamagedRunError]]:
    """Return a dict from each run folder's name to the stamp of its result.json, and a list of errors.

    A stamp is the pair of modification time and size. The list has an error for each file whose stamp can't be read.
    """
    found, unreadable = {}, []
    try:
        with os.scandir(outputs) as folders:
            for folder in folders:
                file = f"{folder.path}/{file_names.RESULT}"
                try:
                    about = os.stat(file)
                    found[folder.name] = [about.st_mtime_ns, about.st_size]
                except (FileNotFoundError, NotADirectoryError):  # the folder has no result.json
                    continue
                except OSError as error:
                    unreadable.append(DamagedRunError(f"{file}: {error.strerror or error}", folder.name))
    except OSError as error:
        raise KronaError(f"{outputs} can't be read: {error.strerror or error}") from error
    return found, unreadable


def _load(outputs: Path, stamps: dict[str, Stamp]) -> tuple["SummaryParts", dict[str, Entry]]:
    """Return the stored parts of summaries, and a dict from run folders' names to the entries that are still valid."""
    stored, entries = read_cache(outputs, FILE, version=VERSION) or ([], {})
    parts = SummaryParts()
    for part in stored:
        parts.add(part)
    return parts, {name: entry for name, entry in entries.items() if stamps.get(name) == entry[0]}


class SummaryParts:
    """The parts that many summaries have in common. Equal parts, and equal values in them, are one object."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}  # by the JSON of the part
        self._values: dict[str, Any] = {}

    def add(self, part: dict[str, Any]) -> int:
        """Add a part unless an equal part is known. Return its number."""
        text = json.dumps(part)
        if text not in self._numbers:
            self._numbers[text] = len(self.parts)
            shared = {key: self._values.setdefault(json.dumps(value), value) for key, value in part.items()}
            self.parts.append(shared)
        return self._numbers[text]

    def separate(self, result: Result) -> list[Any]:
        """Return a summary's fields. Fields of `SHARED` are pairs: the number of a part, and the values of `OWN`."""
        values = [getattr(result, name) for name in FIELDS]
        for place in SHARED:
            inner = {key: value for key, value in values[place].items() if key not in OWN}
            own = {key: value for key, value in values[place].items() if key in OWN}
            values[place] = (self.add(inner), own)
        return values

    def join(self, values: list[Any]) -> Result:
        """Return the summary that `separate` took apart. Results with equal parts share one object."""
        joined = [*values]
        for place in SHARED:
            number, own = values[place]
            joined[place] = {**self.parts[number], **own} if own else self.parts[number]
        return Result.model_construct(**dict(zip(FIELDS, joined, strict=True)))


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable the garbage collector, which would repeatedly check millions of objects that are all in use."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _with_progress(names: list[str]) -> Iterable[str]:
    """Return an iterable of the names. It shows a progress bar on a terminal if there are many names."""
    if len(names) < 20 * WORTH or not sys.stderr.isatty():
        return names
    from rich.console import Console
    from rich.progress import track

    return track(names, "reading results", console=Console(stderr=True), transient=True)
