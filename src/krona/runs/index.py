"""Cache of results in SQLite, so that a hundred thousand runs are listed in seconds.

The result.json files are the truth: a summary counts only where the file's time and size are still those that it was
made from. Whatever is missing, outdated or damaged is read from the file again, and `outputs/.index` can be deleted at
any time.

SQLite's locks do not work on every network file system. Every entry has a checksum, and a cache that can't be read is
made again, so the worst that can happen there is that results are read from their files.
"""

import gc
import json
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

from krona.files import is_below, remove_below
from krona.messages import KronaError
from krona.runs import names
from krona.runs.folder import CHECKSUMS
from krona.runs.predictions import check_answers
from krona.runs.result import SCHEMA, Result, read_result

FILE = Path(".index", f"results-1-{SCHEMA}.sqlite")  # version of the tables, and of the results
TABLES = """
CREATE TABLE IF NOT EXISTS shared (id INTEGER PRIMARY KEY, content TEXT UNIQUE, checksum INTEGER);
CREATE TABLE IF NOT EXISTS results (
    name TEXT PRIMARY KEY, mtime INTEGER, size INTEGER, content TEXT, checksum INTEGER
);
"""
WORTH = 100  # new summaries that are worth a write
BATCH = 10_000  # summaries in one transaction: an interrupted build resumes from there
SETTLED_S = 2.0  # a younger file may change once more within its time stamp's resolution
BUSY_S = 10.0  # how long to wait for another process
NAMES = tuple(field.name for field in fields(Result))
SHARED = tuple(NAMES.index(name) for name in ("config", "splits", "provenance"))  # equal in many results, but for
#   numbers and words at their top: their dicts and lists are stored once
CONFIG = ("method", "task", "backbone", "data", "optimizer", "trainer", "batch_size")  # without which no report is

Stamp = tuple[int, int]  # mtime in ns, size
Entry = tuple[str, Stamp, Result]


def summaries(outputs: Path) -> list[Result | KronaError]:
    """Return every ``<run id>/result.json`` under ``outputs`` by name, without outcomes and earlier epochs.

    A result that can't be read, or whose scores contradict its predictions, is its error instead. What several results
    share is one object: do not change it.
    """
    if not outputs.is_dir():
        return []
    with _fewer_collections():
        stamps, unread = _stamps(outputs)
        found: dict[str, Result | KronaError] = {**_load(outputs, stamps)}
        fresh: list[Entry] = []
        now = time.time()
        for name in _with_progress(sorted(stamps.keys() - found.keys())):
            found[name] = item = _read(outputs / name / names.RESULT)
            settled = now - stamps[name][0] / 1e9 > SETTLED_S
            if settled and isinstance(item, Result) and item.status != "running":
                fresh.append((name, stamps[name], item))
            if len(fresh) == BATCH:
                _store(outputs, fresh)
                fresh.clear()
        if len(fresh) >= WORTH:
            _store(outputs, fresh)
        return [found[name] for name in sorted(stamps)] + unread


def _read(path: Path) -> Result | KronaError:
    try:
        result = read_result(path)
        if lacking := [key for key in CONFIG if key not in result.config]:
            raise KronaError(f"{path} is not a result: its config lacks {', '.join(lacking)}")
        check_answers(result, path)
    except KronaError as error:
        return error
    return summary_of(result)


def summary_of(result: Result) -> Result:
    """Return a result without its outcomes, places and checksums, and with the last epoch of its curve."""

    def bare(part: dict[str, Any] | None) -> dict[str, Any] | None:
        return part and {key: value for key, value in part.items() if key != "outcomes"}

    provenance = {key: value for key, value in result.provenance.items() if key != CHECKSUMS}
    learned = result.learned and {key: value for key, value in result.learned.items() if key != "by_place"}
    parts: dict[str, Any] = {"dev": bare(result.dev), "test": bare(result.test), "provenance": provenance}
    return replace(result, **parts, dev_curve=result.dev_curve[-1:], learned=learned)


def _stamps(outputs: Path) -> tuple[dict[str, Stamp], list[KronaError]]:
    """Return each result's stamp by its folder's name, and an error for each folder that can't be read."""
    found, unread = {}, []
    try:
        with os.scandir(outputs) as folders:
            for folder in folders:
                try:
                    about = os.stat(f"{folder.path}/{names.RESULT}")
                    found[folder.name] = (about.st_mtime_ns, about.st_size)
                except (FileNotFoundError, NotADirectoryError):  # no result in it
                    continue
                except OSError as error:
                    unread.append(KronaError(f"{folder.path}/{names.RESULT} can't be read: {error.strerror or error}"))
    except OSError as error:
        raise KronaError(f"{outputs} can't be read: {error.strerror or error}") from error
    return found, unread


def _load(outputs: Path, stamps: dict[str, Stamp]) -> dict[str, Result]:
    """Return the stored summaries that are still valid. A damaged cache is removed."""
    found: dict[str, Result] = {}
    if not is_below(outputs, outputs / FILE) or not (outputs / FILE).is_file():
        return found
    try:
        with closing(_opened(outputs / FILE, "ro")) as index:
            rows = index.execute("SELECT id, content, checksum FROM shared").fetchall()
            shared = dict(zip((row[0] for row in rows), _parsed([row[1:] for row in rows]), strict=True))
            held = index.execute("SELECT name, mtime, size, content, checksum FROM results").fetchall()
        valid = [row for row in held if stamps.get(row[0]) == row[1:3]]
        for row, values in zip(valid, _parsed([row[3:] for row in valid]), strict=True):
            for place in SHARED:
                number, own = values[place]
                values[place] = {**shared[number], **own}
            found[row[0]] = Result(*values)
    except sqlite3.OperationalError:  # busy, or a file system that can't lock
        return {}
    except (sqlite3.DatabaseError, ValueError, LookupError, TypeError):
        remove_below(outputs, outputs / FILE)
        return {}
    return found


def _parsed(rows: list[tuple[str, int]]) -> list[Any]:
    """Parse JSON texts at once, which is faster than each alone. Raise ValueError for one that was changed."""
    if any(_checksum(text) != checksum for text, checksum in rows):
        raise ValueError("a checksum differs")
    values: list[Any] = json.loads(f"[{','.join(text for text, _ in rows)}]")
    return values


def _store(outputs: Path, entries: list[Entry]) -> None:
    """Add summaries in one transaction. In a folder that may only be read, or on a full disk, nothing is stored."""
    with suppress(sqlite3.Error, OSError):
        (outputs / FILE).parent.mkdir(exist_ok=True)
        if not is_below(outputs, outputs / FILE):
            return
        with closing(_opened(outputs / FILE, "rwc")) as index, index:
            index.executescript(TABLES)
            index.execute("BEGIN IMMEDIATE")
            numbers: dict[str, int] = dict(index.execute("SELECT content, id FROM shared"))
            known = len(numbers)
            for name, stamp, result in entries:
                content = _packed(result, numbers)
                row = (name, *stamp, content, _checksum(content))
                index.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)", row)
            added = [(number, text, _checksum(text)) for text, number in [*numbers.items()][known:]]
            index.executemany("INSERT INTO shared VALUES (?, ?, ?)", added)


def _packed(result: Result, numbers: dict[str, int]) -> str:
    """Return a summary's fields as JSON: of those that are shared a number of ``numbers``, and what is their own."""
    values = [getattr(result, name) for name in NAMES]
    for place in SHARED:
        whole = {key: value for key, value in values[place].items() if isinstance(value, dict | list)}
        own = {key: value for key, value in values[place].items() if key not in whole}
        values[place] = [numbers.setdefault(json.dumps(whole), len(numbers)), own]
    return json.dumps(values)


def _opened(file: Path, mode: str) -> sqlite3.Connection:
    index = sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_S, isolation_level=None)
    index.execute("PRAGMA trusted_schema = OFF")
    return index


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode())


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Without the garbage collector, which would walk millions of objects that all stay again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def _with_progress(names: list[str]) -> Iterable[str]:
    """Return the names, with a bar on a terminal while they are gone through if that takes more than a moment."""
    if len(names) < 20 * WORTH or not sys.stderr.isatty():
        return names
    from rich.console import Console
    from rich.progress import track

    return track(names, "reading results", console=Console(stderr=True), transient=True)
