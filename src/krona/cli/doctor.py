"""Check the installed packages and the runs in outputs/, and remove files of dead processes (`krona doctor`)."""

import json
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from rich.console import Console
from rich.text import Text

from krona.cli.damaged_runs import examine
from krona.cli.left_overs import find_abandoned, find_exports, find_left_overs, remove_left_overs
from krona.formatting import as_typed, below, say
from krona.messages import amount, first_few, shorten
from krona.paths import PROJECT
from krona.runs.claim import describe
from krona.runs.folder import RunFolder, run_folders
from krona.runs.holder import is_dead

FIX = "krona doctor --fix"
SHOWN = 5  # maximum number of lines of one kind, and of names in a line; --json prints all lines
COLOURS = {"fine": "", "note": "yellow", "broken": "red"}
INDENT = 14


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
    findings = [*check_installation(), *check_runs(outputs)]
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
    yield Finding("krona", f"{krona.version}, {PROJECT}")
    yield from check_packages(krona.requires or [])


def check_packages(requirements: list[str]) -> Iterator[Finding]:
    """Yield a finding for each required package that is missing or has an unsupported version.

    If all packages are correct, yield one finding that says so.
    """
    required = [Requirement(text) for text in requirements]
    required = [one for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
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
    damaged, dead, silent, left = [], [], [], [*find_exports(outputs), *find_abandoned(outputs)]
    for run in run_folders(outputs):
        result, problems = examine(run)
        if _is_live(run):
            states["running"] += 1
            continue
        status = "damaged" if problems else result.status if result else "waiting"
        states["interrupted" if status == "running" else status] += 1
        fix = f"rm -r {shlex.quote(below(run.path))}; then repeat the command of the run"
        damaged += [Finding("damaged run", problem, "broken", fix) for problem in problems]
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


def _is_live(run: RunFolder) -> bool:
    try:
        return run.owner() is not None
    except OSError:  # the folder is read-only; `krona status` does the same
        return run.claim_file.is_file()
