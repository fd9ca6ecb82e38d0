"""Check the installed packages and the runs in outputs/ (`krona doctor`). Nothing is changed."""

import json
import os
import platform
import shlex
import sys
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
from krona.messages import KronaError, plural, shorten
from krona.paths import PROJECT
from krona.runs.claim import describe, is_dead
from krona.runs.folder import RunFolder, run_folders
from krona.runs.predictions import UnknownMetricError, read_outcomes
from krona.runs.result import Result

SHOWN = 5  # maximum number of lines of one kind; --json prints all lines
COLOURS = {"fine": "", "note": "yellow", "broken": "red"}
INDENT = 14


@dataclass(frozen=True)
class Finding:
    """One line of the output."""

    about: str  # the subject, in one or two words
    text: str
    level: Literal["fine", "note", "broken"] = "fine"  # broken: the exit code is 1
    fix: str | None = None  # a command that corrects the problem


def doctor(outputs: Path, *, as_json: bool, console: Console) -> int:
    """Print the results of all checks, and return the exit code: 1 if a check failed."""
    findings = [*check_installation(), Finding("results", f"are in {outputs}"), *check_runs(outputs)]
    broken = sum(finding.level == "broken" for finding in findings)
    if as_json:
        content = {"broken": broken, "lines": [asdict(finding) for finding in findings]}
        print(json.dumps(content, indent=1))  # in ASCII, because the name of a folder may contain any bytes
        return int(broken > 0)
    for _, group in groupby(findings, key=lambda finding: (finding.about, finding.level)):
        alike = list(group)
        for finding in alike[:SHOWN]:
            say(console, Text.assemble((f"{finding.about:<{INDENT}}", "bold"), (finding.text, COLOURS[finding.level])))
            if finding.fix:
                say(console, f"{'':<{INDENT}}→ {as_typed(finding.fix)}")
        if len(alike) > SHOWN:
            say(console, f"{'':<{INDENT}}… and {len(alike) - SHOWN} more of these (--json prints all)")
    notes = sum(finding.level == "note" for finding in findings)
    summary = f"{plural(broken, 'thing')} broken" if broken else "nothing is broken"
    say(console, f"\n{summary}, {plural(notes, 'note')}")
    return int(broken > 0)


def check_installation() -> Iterator[Finding]:
    """Yield findings about Python, krona, and each required package that is missing or has a wrong version."""
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

    If all packages have supported versions, yield one finding with the number of packages.
    """
    required = [Requirement(text) for text in requirements]
    required = [item for item in required if item.marker is None or item.marker.evaluate({"extra": ""})]
    sound = True
    for requirement in required:
        try:
            version = metadata.version(requirement.name)
            supported = requirement.specifier.contains(version, prereleases=True)
            problem = None if supported else f"{requirement.name} is {version}"
        except metadata.PackageNotFoundError:
            problem = f"{requirement.name} is not installed"
        if problem:
            sound, wanted = False, f"{requirement.name}{requirement.specifier}"
            yield Finding("package", f"{problem}, but krona needs {wanted}", "broken", _pip(wanted))
    if sound:
        yield Finding("packages", f"{len(required)} required packages, all with supported versions")


def _pip(*arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "pip", "install", *arguments])


def check_runs(outputs: Path) -> Iterator[Finding]:
    """Yield the number of runs by state, and findings about damaged runs and claims without a live process."""
    states: Counter[str] = Counter()
    damaged, claimed = [], []
    for run in run_folders(outputs):
        result, problems = examine(run)
        if run.is_owned():
            states["running"] += 1
            continue
        status = "damaged" if problems else result.status if result else "waiting"
        states["interrupted" if status == "running" else status] += 1
        fix = f"krona rm {shlex.quote(run.path.name)}; then repeat the command that started the run"
        advice = fix if run.is_written_by_krona() else None  # the folder may belong to another program
        damaged += [Finding("damaged run", problem, "broken", advice) for problem in problems]
        owner = run.owner()
        if run.claim_file.exists() and not run.path.is_symlink():
            state = "is dead" if is_dead(owner) else "may be dead"
            claimed.append(f"{run.path.name} is claimed by {shorten(describe(owner), 80)}, which {state}")
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    yield Finding("runs", f"{plural(states.total(), 'run')} in {below(outputs)}{': ' * bool(counts)}{counts}")
    yield from damaged
    fix = "repeat the command that started the run, to resume it; or remove the run with krona rm"
    yield from (Finding("claims", text, "note", fix) for text in claimed)


def examine(run: RunFolder) -> tuple[Result | None, list[str]]:
    """Return a run's result (None if the result is missing or damaged), and a list of the run's problems."""
    try:
        if not os.path.lexists(run.result):
            return None, []
        result = run.read()
        with suppress(UnknownMetricError):  # the run is from another version of krona
            read_outcomes(result, run.predictions)
        return result, run.find_damage(result) if result.status == "done" else []
    except KronaError as error:
        return None, [shorten(error, 300)]
    except Exception as error:  # a damaged file can raise any error
        return None, [f"{below(run.result)} is not a result: {type(error).__name__}: {shorten(error, 200)}"]
