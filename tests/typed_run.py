"""Run `krona …` in this process, and `python train.py …` or other programs in a new process."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from typer.testing import CliRunner

from krona.cli.krona import app

T = TypeVar("T")
PROJECT = Path(__file__).parent.parent


def start(
    outputs: Path, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} if env is None else dict(env)
    return subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), *arguments],
        cwd=cwd or outputs.parent,
        env={**environment, "KRONA_OUTPUTS": str(outputs)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(process: subprocess.Popen[str], condition: Callable[[], T]) -> T:
    """Wait until a condition is true while a process runs. Return its value."""
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return found


def train(
    outputs: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 200,
) -> subprocess.CompletedProcess[str]:
    process = start(outputs, *arguments, env=env, cwd=cwd)
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()  # if it did not end
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def printed(show: Callable[[Console], object]) -> str:
    """Return the text that a function prints on a console that is not a terminal."""
    out = io.StringIO()
    show(Console(file=out))
    return out.getvalue()


def invoke(*words: str, answer: str | None = None) -> Any:
    """Run `krona WORDS` with an answer to its question. Return the outcome with its exit code and output."""
    return CliRunner().invoke(app, words, input=answer)


def krona(*words: object) -> str:
    """Return the output of `krona WORDS`. Raise the error of a command that fails."""
    done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def output_of(*command: str | Path, cwd: Path | None = None, timeout_s: float = 250, **variables: str) -> str:
    """Run a program without krona's own variables of this process. Return its output, if it ends with code 0."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "KRONA_OUTPUTS")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**environment, **variables}, capture_output=True, text=True,
        timeout=timeout_s,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
