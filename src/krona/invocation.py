"""The commands that are printed, as this user has to type them: with the paths that the program was started by."""

import re
import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
KRONA = "status|table|report|diff|params|shapes|tune|dashboard|sample|pretrain"  # its commands
WRITTEN = re.compile(rf"(?<![\w./=-])(?:python (?P<script>train|bench)\.py|krona (?=(?:{KRONA})\b))")


def as_typed(text: str) -> str:
    """``python train.py …`` and ``krona COMMAND …`` in a text with the paths that they need here.

    A program that PATH finds keeps its bare name, another gets its path: from the working directory, if it lies below.
    """
    return WRITTEN.sub(lambda match: _python(match["script"]) if match["script"] else f"{_krona()} ", text)


def _python(script: str) -> str:
    started = Path(sys.argv[0])
    file = started if started.name == f"{script}.py" else PROJECT / f"{script}.py"
    interpreter = Path(sys.executable)
    plain = interpreter.with_name("python")
    return f"{_short(plain if plain.exists() else interpreter)} {below(file)}"


def _krona() -> str:
    started = Path(sys.argv[0])
    return _short(started if started.name == "krona" else Path(sys.executable).with_name("krona"))


def _short(program: Path) -> str:
    found = shutil.which(program.name)
    if found is not None and Path(found).absolute() == program.absolute():
        return program.name
    return below(program)


def below(path: Path) -> str:
    """The path from the working directory, where it lies in it."""
    here, whole = Path.cwd(), path.absolute()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)
