"""Check the installed packages and the runs in outputs/, and remove files of dead processes (`krona doctor`)."""

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

from krona.formatting import as_typed, below, say
from krona.messages import KronaError, amount, first_few, join_names, shorten
from krona.paths import PROJECT
from krona.runs.claim import describe
from krona.runs.folder import RunFolder, run_folders
from krona.runs.holder import is_dead
from krona.runs.predictions import check_answers
from krona.runs.result import CHECKSUMS, Result
from krona.safe_files import is_below, remove_below

FIX = "krona doctor --fix"
SHOWN = 5  # maximum number of lines of one kind, and of names in a line; --json prints all lines
COLOURS = {"fine": "", "note": "yellow", "broken": "red"}
INDENT = 14
SHARED = {  # folders that several runs write to, and the names of incomplete files in them
    ".": re.compile(r"\.report\.html\..+"),
    ".index": re.compile(r"\.results\.parquet\..+"),
    ".cache/tokens": re.compile(r"tmp\w+"),
    "sweeps": re.compile(r"\..+\.(json|runs\.txt)\..+"),
}
YOUNG_S = 60.0  # seconds; a younger file may belong to a process that is about to take over the run
ABANDONED_S = 3600.0  # seconds; in a folder of several runs, no claim shows whether the writer of a file is alive


@dataclass(frozen=True)
class Finding:
    """One line of the output."""

    about: str  # the subject, in one or two words
    text: str
    level: Literal["fine", "note", "broken"] = "fine"  # broken: the exit code is 1
    fix: str | None = None  # a command that corrects the problem


def doctor(outputs: Path, *, as_json: bool, fix: bool, console: Console) -> int:
    """Print the findings and return the exit code: 1 if something is broken."""
    removed = remove_left_overs(outputs) if fix else []
    findings = [*check_installation(), Finding("results", f"are in {outputs}"), *check_runs(outputs)]
    broken = sum(one.level == "broken" for one in findings)
    if as_json:
        content = {"broken": broken, "lines": [asdict(one) for one in findings], "removed": list(map(str, removed))}
        print(json.dumps(content, indent=1))  # in ASCII: a folder's name may contain any bytes
        return int(broken > 0)
    for path in removed:
        say(console, f"removed {below(path)}")
    for _, group in groupby(findings, key=lambda one: (one.about, one.level)):
        alike = list(group)
        for one in alike[:SHOWN]:
            say(console, Text.assemble((f"{one.about:<{INDENT}}", "bold"), (one.text, COLOURS[one.level])))
            if one.fix:
                say(console, f"{'':<{INDENT}}→ {as_typed(one.fix)}")
        if len(alike) > SHOWN:
            say(console, f"{'':<{INDENT}}… and {len(alike) - SHOWN} more of these (--json prints all)")
    notes = sum(one.level == "note" for one in findings)
    summary = f"{amount(broken, 'thing')} broken" if broken else "nothing is broken"
    say(console, f"\n{summary}, {amount(notes, 'note')}")
    return int(broken > 0)


def check_installation() -> Iterator[Finding]:
    """Yield findings on Python, on krona, and on each required package that is missing or has a wrong version."""
    yield Finding("python", f"{platform.python_version()}, {sys.executable}")
    try:
        krona = metadata.distribution("krona")
    except metadata.PackageNotFoundError:
        yield Finding("krona", f"not installed. Its code is in {PROJECT}.", "broken", _pip("-e", below(PROJECT)))
        return
    yield Finding("krona", f"{krona.version}, imported from {Path(__file__).parents[1]}")
    yield from check_packages(krona.requires or [])


def check_packages(requirements: list[str]) -> Iterator[Finding]:
    """Yield a finding for each required package that is missing or has an unsupported version.

    If all packages are correct, yield one finding that says so.
    """
    required = [Requirement(text) for text in requirements]
    required = [one for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
    if not required:
        text = "The metadata of krona list no required packages, so no version was checked. Install krona again."
        yield Finding("packages", text, "note")
        return
    sound = True
    for one in required:
        try:
            version = metadata.version(one.name)
            problem = None if one.specifier.contains(version, prereleases=True) else f"{one.name} is {version}"
        except metadata.PackageNotFoundError:
            problem = f"{one.name} is not installed"
        if problem:
            sound, wanted = False, f"{one.name}{one.specifier}"
            yield Finding("package", f"{problem}, but krona needs {wanted}", "broken", _pip(wanted))
    if sound:
        yield Finding("packages", f"{len(required)} required packages, all with supported versions")


def _pip(*arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "pip", "install", *arguments])


def check_runs(outputs: Path) -> Iterator[Finding]:
    """Yield the counts of runs, and findings on damaged runs, reserved runs (claims) and files of dead processes."""
    states: Counter[str] = Counter()
    damaged, dead, silent, left = [], [], [], [*find_abandoned(outputs)]
    for run in run_folders(outputs):
        result, problems = examine(run)
        if run.is_owned():
            states["running"] += 1
            continue
        status = "damaged" if problems else result.status if result else "waiting"
        states["interrupted" if status == "running" else status] += 1
        fix = f"krona rm {shlex.quote(run.path.name)}; then repeat the command of the run"
        advice = fix if run.is_written_by_krona() else None  # the folder may belong to another program
        damaged += [Finding("damaged run", problem, "broken", advice) for problem in problems]
        holder = run.holder()
        if holder is None or is_dead(holder):
            found = find_left_overs(run, done=status == "done")
            dead += [run.path.name for path in found if path == run.claim_file]
            left += [path for path in found if path != run.claim_file]
        elif not run.path.is_symlink():
            silent.append(f"{run.path.name} is claimed by {shorten(describe(holder), 80)}, which may be dead")
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    yield Finding("runs", f"{amount(states.total(), 'run')} in {below(outputs)}{': ' * bool(counts)}{counts}")
    yield from damaged
    if dead:
        text = f"{amount(len(dead), 'run')} claimed by dead processes: {', '.join(first_few(dead, SHOWN))}"
        yield Finding("claims", f"{text}. Repeating a run's command also resumes the run.", "note", FIX)
    for text in silent:
        yield Finding("claims", text, "note", "repeat the run's command, which watches the claim for 15 s")
    if left:
        names = ", ".join(first_few([below(path) for path in left], SHOWN))
        yield Finding("left-overs", f"{amount(len(left), 'file')} left by dead processes: {names}", "note", FIX)


def examine(run: RunFolder) -> tuple[Result | None, list[str]]:
    """Return a run's result and the run's problems. The result is None if it is missing or damaged."""
    try:
        if not os.path.lexists(run.result):
            return None, []
        if not run.result.is_file():
            return None, [f"{below(run.result)} is not a regular file"]
        result = run.read()
        check_answers(result, run.result)
        return result, list(_find_lost_files(run, result))
    except KronaError as error:
        return None, [shorten(error, 300)]
    except Exception as error:  # a damaged file can raise any error
        return None, [f"{below(run.result)} is not a result: {type(error).__name__}: {shorten(error, 200)}"]


def _find_lost_files(run: RunFolder, result: Result) -> Iterator[str]:
    if result.status != "done":
        return
    trains = bool(result.trainable_params or result.head_params)
    recorded = result.provenance.get(CHECKSUMS) or {}  # missing in results of earlier versions
    may_lack_weights = result.config["method"].get("train_backbone") and result.config.get("keep") != "all"
    keeps_weights = trains and (not may_lack_weights or run.adapter.name in recorded)
    files = [run.predictions, *([run.adapter] if keeps_weights else [])]
    if lost := [file.name for file in files if not file.is_file() or not file.stat().st_size]:
        yield f"{below(run.path)} is done, but has no complete {join_names(lost)}"
    if run.adapter.is_file() and run.adapter.name not in lost:
        from safetensors import safe_open

        try:
            with safe_open(run.adapter, framework="numpy"):  # compares the header with the size of the file
                pass
        except Exception as error:  # safetensors has its own exceptions
            yield f"{below(run.adapter)} can't be read: {shorten(error, 200)}"


def remove_left_overs(outputs: Path) -> list[Path]:
    """Remove the files that dead processes left, and no other files. Return the removed paths.

    Raises:
        KronaError: a run's folder is not writable.
    """
    removed = [path for path in find_abandoned(outputs) if remove_below(outputs, path)]
    for run in run_folders(outputs):
        holder = run.holder()
        if holder is None or is_dead(holder):
            result, _ = examine(run)
            done = result is not None and result.status == "done"
            if find_left_overs(run, done=done):
                removed += run.clean(done=done)
    return removed


def find_left_overs(run: RunFolder, *, done: bool) -> list[Path]:
    """Return the files that a dead process left in a run's folder.

    The list is empty if the folder is a symbolic link, because the link's target may belong to another user.
    """
    found = [] if run.path.is_symlink() else run.leftovers(done=done)
    return [path for path in found if path in (run.claim_file, run.checkpoint) or _age(path) > YOUNG_S]


def find_abandoned(outputs: Path) -> list[Path]:
    """Return the incomplete files in folders that several runs write to, if they have not changed for an hour."""
    found: list[Path] = []
    for name, pattern in SHARED.items():
        with suppress(OSError):  # missing, or not readable
            found += sorted(path for path in (outputs / name).iterdir() if pattern.fullmatch(path.name))
    return [path for path in found if _age(path) > ABANDONED_S and is_below(outputs, path)]


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:  # removed in the meantime
        return 0.0
