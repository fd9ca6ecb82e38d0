"""Run `python train.py …` in a new process, with its results in a folder of the test."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

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
