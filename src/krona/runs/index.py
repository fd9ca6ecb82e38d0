"""Read the summaries of all results, with a cache in SQLite. With the cache, 100,000 runs are read in seconds.

A cached summary is used only if its result.json still has the same modification time and size. All other results are
read from their result.json, so the cache in `outputs/.index` can be deleted at any time.

SQLite's locks fail on some network file systems. So every entry has a checksum, and a damaged cache is removed.
"""

import gc
import json
import marshal
import os
import sqlite3
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.runs import file_names
from krona.runs.predictions import DamagedRunError, check_answers
from krona.runs.result import CHECKSUMS, SCHEMA, Result, read_result
from krona.safe_files import is_below, remove_below

FILE = Path(".index", f"results-2-{SCHEMA}.sqlite")  # 2 is the version of the tables, SCHEMA that of the results
TABLES = """
CREATE TABLE IF NOT EXISTS shared (id INTEGER PRIMARY KEY, content TEXT UNIQUE, checksum INTEGER);
CREATE TABLE IF NOT EXISTS results (
    name TEXT PRIMARY KEY, mtime INTEGER, size INTEGER, content TEXT, checksum INTEGER
);
"""
WORTH = 100  # smallest number of new summaries that is stored
BATCH = 2_000  # summaries in one transaction; an interrupted command keeps the summaries of finished transactions
CHUNK = 1_000  # stored summaries that are parsed together
SETTLED_S = 2.0  # a file that is younger than this may change again without a change of its time stamp
BUSY_S = 10.0  # longest wait for another process that uses the cache
FIELDS = tuple(field.name for field in fields(Result))
# Many results have equal values in these fields, so equal values are stored only once.
SHARED = tuple(map(FIELDS.index, ("config", "splits", "progress", "provenance")))
OWN = ("seed",)  # keys of these fields whose values are stored with each result
CONFIG = ("method", "task", "backbone", "data", "optimizer", "trainer", "batch_size")  # keys that every report reads

Stamp = tuple[int, int]  # mtime in ns, size
Entry = tuple[str, Stamp, list[Any]]  # name, stamp, and the values of `_separate`


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
        found: dict[str, Result | DamagedRunError] = {**_load(outputs, stamps)}
        known: dict[Any, Any] = {}
        new: list[Entry] = []
        now = time.time()
        for name in _with_progress(sorted(stamps.keys() - found.keys())):
            item = _read(Path(f"{outputs}/{name}/{file_names.RESULT}"))
            if isinstance(item, DamagedRunError):
                found[name] = item
                continue
            values = _separate(item, known)
            found[name] = _join(values, known)
            if now - stamps[name][0] / 1e9 > SETTLED_S and item.status != "running":
                new.append((name, stamps[name], values))
            if len(new) == BATCH:
                _store(outputs, new)
                new.clear()
        if len(new) >= WORTH:
            _store(outputs, new)
        return [found[name] for name in sorted(stamps)] + unreadable


def strip_result(result: Result) -> Result:
    """Return a copy of a result with only the scores of its last epoch.

    Predictions, scores of single metrics, checksums, start and end, and measures of layers are removed.
    """

    def without(part: dict[str, Any] | None, *keys: str) -> Any:
        return part and {name: value for name, value in part.items() if name not in keys}

    return replace(
        result,
        dev=without(result.dev, "outcomes", "parts"),
        test=without(result.test, "outcomes", "parts"),
        provenance=without(result.provenance, CHECKSUMS, "started", "finished"),
        learned=without(result.learned, "by_place"),
        dev_curve=[without(row, "parts", "choice", "loss", "lr", "examples_per_s") for row in result.dev_curve[-1:]],
    )


def _read(path: Path) -> Result | DamagedRunError:
    try:
        result = read_result(path)
        if lacking := [key for key in CONFIG if key not in result.config]:
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
                    found[folder.name] = (about.st_mtime_ns, about.st_size)
                except (FileNotFoundError, NotADirectoryError):  # the folder has no result.json
                    continue
                except OSError as error:
                    unreadable.append(DamagedRunError(f"{file}: {error.strerror or error}", folder.name))
    except OSError as error:
        raise KronaError(f"{outputs} can't be read: {error.strerror or error}") from error
    return found, unreadable


def _load(outputs: Path, stamps: dict[str, Stamp]) -> dict[str, Result]:
    """Return a dict from run folders' names to the stored summaries that are still valid. Remove a damaged cache."""
    found: dict[str, Result] = {}
    if not is_below(outputs, outputs / FILE) or not (outputs / FILE).is_file():
        return found
    try:
        with closing(_connect(outputs / FILE, "ro")) as index:
            rows = index.execute("SELECT id, content, checksum FROM shared").fetchall()
            shared = dict(zip((row[0] for row in rows), _parse([row[1:] for row in rows]), strict=True))
            parts: dict[str, Any] = {}
            shared = {number: _share_parts(inner, parts) for number, inner in shared.items()}
            stored = index.execute("SELECT name, mtime, size, content, checksum FROM results")
            while rows := stored.fetchmany(CHUNK):
                valid = [row for row in rows if stamps.get(row[0]) == row[1:3]]
                parsed = _parse([row[3:] for row in valid])
                found |= {row[0]: _join(values, shared) for row, values in zip(valid, parsed, strict=True)}
    except sqlite3.OperationalError:  # another process uses the cache, or the file system has no locks
        return {}
    except (sqlite3.DatabaseError, ValueError, LookupError, TypeError):
        remove_below(outputs, outputs / FILE)
        return {}
    return found


def _parse(rows: list[tuple[str, int]]) -> list[Any]:
    """Parse JSON texts in one call, which is faster than one call for each. Raise ValueError if a checksum differs."""
    if any(_checksum(text) != checksum for text, checksum in rows):
        raise ValueError("a checksum differs")
    values: list[Any] = json.loads(f"[{','.join(text for text, _ in rows)}]")
    return values


def _store(outputs: Path, entries: list[Entry]) -> None:
    """Add summaries to the cache in one transaction. Do nothing if the folder is read-only or the disk is full."""
    with suppress(sqlite3.Error, OSError):
        (outputs / FILE).parent.mkdir(exist_ok=True)
        if not is_below(outputs, outputs / FILE):
            return
        with closing(_connect(outputs / FILE, "rwc")) as index, index:
            index.executescript(TABLES)
            index.execute("BEGIN IMMEDIATE")
            numbers: dict[str, int] = dict(index.execute("SELECT content, id FROM shared"))
            known = len(numbers)
            for name, stamp, values in entries:
                for place in SHARED:
                    text, own = values[place]
                    values[place] = numbers.setdefault(text, len(numbers)), own
                content = json.dumps(values)
                row = (name, *stamp, content, _checksum(content))
                index.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)", row)
            added = [(number, text, _checksum(text)) for text, number in [*numbers.items()][known:]]
            index.executemany("INSERT INTO shared VALUES (?, ?, ?)", added)


def _separate(result: Result, known: dict[Any, Any]) -> list[Any]:
    """Return a summary's fields, and add the values in fields of `SHARED` to ``known``, by their JSON.

    Each field of `SHARED` is a list of this JSON and a dict of the values of `OWN`.
    """
    values = [getattr(result, name) for name in FIELDS]
    for place in SHARED:
        inner = {key: value for key, value in values[place].items() if key not in OWN}
        own = {key: value for key, value in values[place].items() if key in OWN}
        mark = marshal.dumps(inner, 2)  # faster than JSON
        if mark not in known:
            known[mark] = json.dumps(inner)
            known[known[mark]] = _share_parts(inner, known)
        values[place] = [known[mark], own]
    return values


def _share_parts(inner: dict[str, Any], known: dict[Any, Any]) -> dict[str, Any]:
    """Return a dict in which a value that is equal to one in ``known`` is the same object. Add the others to it."""
    return {key: known.setdefault(json.dumps(value), value) for key, value in inner.items()}


def _join(values: list[Any], known: dict[Any, Any]) -> Result:
    """Return the summary that `_separate` took apart. Results with equal parts share one object."""
    joined = [*values]
    for place in SHARED:
        key, own = values[place]
        joined[place] = {**known[key], **own} if own else known[key]
    return Result(*joined)


def _connect(file: Path, mode: str) -> sqlite3.Connection:
    index = sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_S, isolation_level=None)
    index.execute("PRAGMA trusted_schema = OFF")
    return index


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode())


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
