"""`krona doctor`: check the installed packages and the runs in outputs/, and remove what killed processes left."""

import json
import os
import platform
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from rich.console import Console
from rich.text import Text

from krona.files import is_below, remove_below
from krona.messages import KronaError, amount, listed, shortened
from krona.paths import PROJECT
from krona.runs.claim import describe
from krona.runs.folder import RunFolder, run_folders
from krona.runs.holder import is_dead
from krona.runs.predictions import check_answers
from krona.runs.result import Result
from krona.screen import as_typed, below, say

FIX = "krona doctor --fix"
SHOWN = 5  # lines of one kind on the screen, and names in one line; JSON has all lines
COLOURS = {"fine": "", "note": "yellow", "broken": "red"}
INDENT = 14
SHARED = {  # folders that several runs write to, and the names of what is half-written there
    ".": re.compile(r"\.report\.html\..+"),
    ".index": re.compile(r"[0-9a-f]{32}\.json"),  # of an earlier version
    ".cache/tokens": re.compile(r"\.[0-9a-f]{24}-.+"),
    "sweeps": re.compile(r"\..+\.(json|runs\.txt)\..+"),
}
YOUNG_S = 60.0  # a younger file of a run may be that of a process that is about to take it over
ABANDONED_S = 3600.0  # in a shared folder no claim tells whether the process of a file lives


@dataclass(frozen=True)
class Line:
    """One finding.

    Args:
        about: a word or two.
        fix: what to type; a note may have none.
    """

    about: str
    text: str
    level: Literal["fine", "note", "broken"] = "fine"
    fix: str | None = None


def doctor(outputs: Path, *, as_json: bool, fix: bool, console: Console) -> int:
    """Print the findings and return the exit code: 1 if something is broken."""
    removed = remove_left_overs(outputs) if fix else []
    lines = [*installation(), *check_runs(outputs)]
    broken = sum(line.level == "broken" for line in lines)
    if as_json:
        content = {"broken": broken, "lines": [asdict(line) for line in lines], "removed": list(map(str, removed))}
        print(json.dumps(content, indent=1))  # in ASCII: a folder's name may hold anything
        return int(broken > 0)
    for path in removed:
        say(console, f"removed {_printable(below(path))}")
    for _, group in groupby(lines, key=lambda line: (line.about, line.level)):
        alike = list(group)
        for line in alike[:SHOWN]:
            style = COLOURS[line.level]
            say(console, Text.assemble((f"{line.about:<{INDENT}}", "bold"), (_printable(line.text), style)))
            if line.fix:
                say(console, f"{'':<{INDENT}}→ {_printable(as_typed(line.fix))}")
        if len(alike) > SHOWN:
            say(console, f"{'':<{INDENT}}… and {len(alike) - SHOWN} more of these; --json has all")
    notes = sum(line.level == "note" for line in lines)
    summary = f"{amount(broken, 'thing')} broken" if broken else "nothing is broken"
    say(console, f"\n{summary}, {amount(notes, 'note')}")
    return int(broken > 0)


def installation() -> Iterator[Line]:
    """Yield Python, krona, and each required package that is missing or out of bounds."""
    yield Line("python", f"{platform.python_version()}, {sys.executable}")
    try:
        found = metadata.distribution("krona")
    except metadata.PackageNotFoundError:
        yield Line("krona", f"not installed; its code is in {PROJECT}", "broken", _pip("-e", below(PROJECT)))
        return
    yield Line("krona", f"{found.version}, {PROJECT}")
    yield from packages(found.requires or [])


def packages(requirements: list[str]) -> Iterator[Line]:
    """Yield each required package that is missing or out of bounds, or one line if there is none."""
    required = [Requirement(text) for text in requirements]
    required = [one for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [(one, why) for one in required if (why := _out_of_bounds(one))]
    for one, why in wrong:
        yield Line(
            "package", f"{why}; krona needs {one.name}{one.specifier}", "broken", _pip(f"{one.name}{one.specifier}")
        )
    if not wrong:
        yield Line("packages", f"{len(required)} required, all within their bounds")


def _out_of_bounds(one: Requirement) -> str | None:
    try:
        version = metadata.version(one.name)
    except metadata.PackageNotFoundError:
        return f"{one.name} is not installed"
    return None if one.specifier.contains(version, prereleases=True) else f"{one.name} is {version}"


def _pip(*arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "pip", "install", *arguments])


def check_runs(outputs: Path) -> Iterator[Line]:
    """Yield what is damaged and what killed processes left. Every result is read, without the index."""
    states: Counter[str] = Counter()
    damaged, dead, silent, left = [], [], [], _abandoned(outputs)
    for run in run_folders(outputs):
        result, wrong = examine(run)
        if _is_live(run):
            states["running"] += 1
            continue
        status = "damaged" if wrong else result.status if result else "waiting"
        states["interrupted" if status == "running" else status] += 1
        mend = f"rm -r {shlex.quote(below(run.path))}; then run the run's own command again"
        damaged += [Line("damaged run", why, "broken", mend) for why in wrong]
        holder = run.holder()
        if holder is None or is_dead(holder):
            found = _left_over(run, done=status == "done")
            dead += [run.path.name for path in found if path == run.claim_file]
            left += [path for path in found if path != run.claim_file]
        elif not run.path.is_symlink():
            silent.append(f"{run.path.name}: {shortened(describe(holder), 80)} shows no sign of life")
    counted = ", ".join(f"{count} {state}" for state, count in states.most_common())
    yield Line("runs", f"{amount(states.total(), 'run')} in {below(outputs)}{': ' * bool(counted)}{counted}")
    yield from damaged
    if dead:
        text = f"{amount(len(dead), 'run')} claimed by processes that are dead: {_some(dead)}"
        yield Line("claims", f"{text}; the run's own command also takes it over", "note", FIX)
    for text in silent:
        yield Line("claims", text, "note", "the run's own command watches it for 15 s and takes it over")
    if left:
        text = f"{amount(len(left), 'file')} of processes that are dead: {_some([below(path) for path in left])}"
        yield Line("left-overs", text, "note", FIX)


def remove_left_overs(outputs: Path) -> list[Path]:
    """Remove what dead processes left, and nothing else. Return what was removed.

    Raises:
        KronaError: a run's folder can't be written to.
    """
    removed = [path for path in _abandoned(outputs) if remove_below(outputs, path)]
    for run in run_folders(outputs):
        holder = run.holder()
        if holder is None or is_dead(holder):
            result, _ = examine(run)
            done = result is not None and result.status == "done"
            if _left_over(run, done=done):
                removed += run.clean(done=done)
    return removed


def examine(run: RunFolder) -> tuple[Result | None, list[str]]:
    """Return a run's result, if it can be read, and what is wrong with the run."""
    try:
        if not os.path.lexists(run.result):
            return None, []
        if not run.result.is_file():
            return None, [f"{below(run.result)} is not a file"]
        result = run.read()
        check_answers(result, run.result)
        return result, list(_lost(run, result))
    except KronaError as error:
        return None, [shortened(error, 300)]
    except Exception as error:  # a damaged file may hold anything
        return None, [f"{below(run.result)} is not a result: {type(error).__name__}: {shortened(error, 200)}"]


def _lost(run: RunFolder, result: Result) -> Iterator[str]:
    """Yield what is missing of a finished run's files."""
    if result.status != "done":
        return
    files = [run.predictions, *([run.adapter] if _keeps_weights(result) else [])]
    if lost := [file.name for file in files if not file.is_file() or not file.stat().st_size]:
        yield f"{below(run.path)} is done, but its {listed(lost)} {'are' if len(lost) > 1 else 'is'} gone"
    if run.adapter.is_file() and run.adapter.name not in lost:
        from safetensors import safe_open

        try:
            with safe_open(run.adapter, framework="numpy"):  # its header against its size
                pass
        except Exception as error:  # safetensors raises its own
            yield f"{below(run.adapter)} can't be read: {shortened(error, 200)}"


def _keeps_weights(result: Result) -> bool:
    """Return whether the run wrote an adapter, as `krona.training.files.RunFiles.write_end` does."""
    if not result.trainable_params and not result.head_params:
        return False
    return not result.config["method"].get("train_backbone") or result.config.get("keep") == "all"


def _is_live(run: RunFolder) -> bool:
    try:
        return run.owner() is not None
    except OSError:  # the folder may only be read: as `krona status` has it
        return run.claim_file.is_file()


def _left_over(run: RunFolder, *, done: bool) -> list[Path]:
    """Return what a dead process left in a run's folder. A run behind a link may be another's."""
    found = [] if run.path.is_symlink() else run.leftovers(done=done)
    return [path for path in found if path in (run.claim_file, run.checkpoint) or _age(path) > YOUNG_S]


def _abandoned(outputs: Path) -> list[Path]:
    """Return what is half-written in the folders that runs share and has not changed for an hour."""
    found: list[Path] = []
    for name, pattern in SHARED.items():
        with suppress(OSError):  # not there, or not to be read
            found += sorted(path for path in (outputs / name).iterdir() if pattern.fullmatch(path.name))
    return [path for path in found if _age(path) > ABANDONED_S and is_below(outputs, path)]


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:  # gone meanwhile
        return 0.0


def _some(words: list[str]) -> str:
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")


def _printable(text: str) -> str:
    """Return the text with what no terminal should get, as in a folder's name, written as ``\\x1b``."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
