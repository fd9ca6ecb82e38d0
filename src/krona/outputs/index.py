"""Index of results: summaries in a few files, so that a hundred thousand runs are listed in seconds.

The result.json files are the truth: a summary counts only where the file's time and size are still those that it was
made from, and whatever is missing, stale or damaged is read from the file again. `outputs/.index` can be thrown away
at any time. Its segments are written whole under names of their own and never changed, so any number of processes may
read and add to them at once, on file systems without locks too.
"""

import gc
import hashlib
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from krona.files import write_whole
from krona.folders import is_below, remove_below
from krona.messages import KronaError
from krona.outputs import checksums
from krona.outputs.predictions import answers_of
from krona.outputs.result import SCHEMA, Result, read_result

FOLDER = ".index"
FORMAT = f"krona index 5 of schema {SCHEMA}"  # the first line of a segment, with the digest of the second
WORTH = 100  # new summaries that are worth a segment
BATCH = 10_000  # summaries a segment while many are made: an interrupted build resumes from there
SEGMENTS = 12  # more of them are written anew as one
SETTLED_S = 2.0  # a younger file may change once more within its time stamp's resolution
NAMES = tuple(field.name for field in fields(Result))
SHARED = ("splits", "provenance")  # their parts are equal in many results and stored once; and whole configs, but for
CONFIG = ("method", "task", "backbone", "data", "optimizer", "trainer", "batch_size")  # without which no report is
OWN = ("seed",)  # these keys

Stamp = tuple[int, int]  # mtime in ns, size
Entry = tuple[str, int, int, list[Any]]  # folder, its stamp, the summary's fields


def summaries(outputs: Path) -> list[Result | KronaError]:
    """Every ``<run id>/result.json`` under ``outputs``, by name, without outcomes and of the curve only the last epoch.

    One that can't be read, or whose scores are not those of its predictions, comes as its error. What is shared by
    several results is one object: do not change it.
    """
    if not outputs.is_dir():
        return []
    with _fewer_collections():
        stamps, unread = _stamps(outputs)
        known, segments = _load(outputs / FOLDER, stamps)
        found = _with_fresh(outputs, stamps, known)
        if len(segments) > SEGMENTS:
            _join(outputs / FOLDER, stamps)
        return found + unread


def _with_fresh(outputs: Path, stamps: dict[str, Stamp], known: dict[str, Result]) -> list[Result | KronaError]:
    """All in order, those that the index lacks from their files; what will not change soon is added to the index."""
    found: list[Result | KronaError] = []
    fresh: list[Entry] = []
    pieces = _Pieces()
    now = time.time()
    with _progress(len(stamps) - len(known)) as advance:
        for name in sorted(stamps):
            if name in known:
                found.append(known[name])
                continue
            item = _read(outputs / name / "result.json")
            advance()
            found.append(item)
            settled = now - stamps[name][0] / 1e9 > SETTLED_S
            if settled and isinstance(item, Result) and item.status != "running":
                fresh.append((name, *stamps[name], pieces.packed(item)))
            if len(fresh) == BATCH:
                _add(outputs / FOLDER, fresh, pieces)
                fresh, pieces = [], _Pieces()
    if len(fresh) >= WORTH:
        _add(outputs / FOLDER, fresh, pieces)
    return found


def _read(path: Path) -> Result | KronaError:
    try:
        result = read_result(path)
        if lacking := [key for key in CONFIG if key not in result.config]:
            raise KronaError(f"{path} is not a result: its config lacks {', '.join(lacking)}")
        answers_of(result, path)
    except KronaError as error:
        return error
    return summary_of(result)


def summary_of(result: Result) -> Result:
    """A result without its outcomes, places and checksums, and with the last epoch of its curve."""

    def bare(part: dict[str, Any] | None) -> dict[str, Any] | None:
        return part and {key: value for key, value in part.items() if key != "outcomes"}

    known = {key: value for key, value in result.provenance.items() if key != checksums.KEY}  # of no other result
    learned = result.learned and {key: value for key, value in result.learned.items() if key != "by_place"}
    parts: dict[str, Any] = {"dev": bare(result.dev), "test": bare(result.test), "provenance": known}
    return replace(result, **parts, dev_curve=result.dev_curve[-1:], learned=learned)


def _stamps(outputs: Path) -> tuple[dict[str, Stamp], list[KronaError]]:
    """Each result's stamp by its folder's name, and an error for each folder that can't be read."""
    found, unread = {}, []
    try:
        with os.scandir(outputs) as folders:
            for folder in folders:
                try:
                    about = os.stat(f"{folder.path}/result.json")
                    found[folder.name] = (about.st_mtime_ns, about.st_size)
                except (FileNotFoundError, NotADirectoryError):  # no result in it
                    continue
                except OSError as error:
                    unread.append(KronaError(f"{folder.path}/result.json can't be read: {error.strerror or error}"))
    except OSError as error:
        raise KronaError(f"{outputs} can't be read: {error.strerror or error}") from error
    return found, unread


class _Pieces:
    """What results share, each once: a part's place holds ``[number]``, a config's ``[number, what is its own]``."""

    def __init__(self) -> None:
        self.parts: dict[str, int] = {}
        self.configs: dict[str, int] = {}

    def packed(self, result: Result) -> list[Any]:
        """The fields of a summary."""
        values = {name: getattr(result, name) for name in NAMES}
        values |= {name: self._apart(values[name]) for name in SHARED}
        own = {key: value for key, value in result.config.items() if key in OWN}
        config = json.dumps(self._apart({key: value for key, value in result.config.items() if key not in OWN}))
        values["config"] = [self.configs.setdefault(config, len(self.configs)), own]
        return list(values.values())

    def _apart(self, whole: dict[str, Any]) -> dict[str, Any]:
        def number(part: Any) -> int:
            return self.parts.setdefault(json.dumps(part), len(self.parts))

        return {k: [number(v)] if isinstance(v, dict | list) else v for k, v in whole.items()}


def _together(whole: dict[str, Any], parts: Sequence[Any]) -> dict[str, Any]:
    return {key: parts[value[0]] if value.__class__ is list else value for key, value in whole.items()}


def _load(folder: Path, stamps: dict[str, Stamp]) -> tuple[dict[str, Result], list[Path]]:
    """The summaries that still hold, and the segments that were read."""
    found: dict[str, Result] = {}
    config, *shared = (NAMES.index(name) for name in ("config", *SHARED))
    paths = sorted(folder.glob("*.json")) if is_below(folder.parent, folder / "*") else []
    for path in paths:
        if (content := _segment(path)) is None:
            continue
        parts = content["parts"]
        configs = [_together(one, parts) for one in content["configs"]]
        for name, mtime, size, values in content["entries"]:
            if stamps.get(name) != (mtime, size):
                continue
            for place in shared:
                values[place] = _together(values[place], parts)
            number, own = values[config]
            values[config] = {**configs[number], **own}
            found[name] = Result(*values)
    return found, paths


def _segment(path: Path) -> dict[str, Any] | None:
    """A segment's content; None for one that is damaged, of another version or gone, and a damaged one is removed."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        if head.decode() != f"{FORMAT} {_digest(body)}":
            remove_below(path.parents[1], path)
            return None
        return dict(json.loads(body))
    except (OSError, ValueError):
        return None


def _add(folder: Path, entries: Sequence[Entry], pieces: _Pieces) -> bool:
    """Write a segment. False in a folder that may only be read, or on a full disk: the files are read every time."""
    parts, configs = (",".join(known) for known in (pieces.parts, pieces.configs))  # they are JSON already
    text = json.dumps(entries, separators=(",", ":"))
    body = f'{{"parts":[{parts}],"configs":[{configs}],"entries":{text}}}'.encode()
    head = f"{FORMAT} {_digest(body)}\n".encode()
    if folder.is_symlink():
        return False
    try:
        write_whole(folder / f"{uuid.uuid4().hex}.json", lambda part: part.write_bytes(head + body))
    except KronaError:
        return False
    return True


def _join(folder: Path, stamps: dict[str, Stamp]) -> None:
    """Write all that still holds as one segment. What another process adds meanwhile stays."""
    known, paths = _load(folder, stamps)
    pieces = _Pieces()
    if _add(folder, [(name, *stamps[name], pieces.packed(result)) for name, result in known.items()], pieces):
        for path in paths:
            remove_below(path.parents[1], path)


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


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


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Something to call after each file; shown on a terminal where it takes more than a moment."""
    if total < 20 * WORTH or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("reading results", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)
