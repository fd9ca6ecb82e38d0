"""`python train.py …` in a process of its own, its results in a folder of the test's."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parent.parent
CODE = """
import runpy, sys
from pathlib import Path
from krona import entry
entry.OUTPUTS = Path(sys.argv[1])
sys.argv = [sys.argv[2], *sys.argv[3:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(
    outputs: Path, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[str]:
    hydra = [f"hydra.run.dir={outputs}", f"hydra.sweep.dir={outputs}/sweeps"]
    command = [sys.executable, "-c", CODE, str(outputs), str(PROJECT / "train.py"), *arguments, *hydra]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} if env is None else dict(env)
    return subprocess.Popen(
        command, cwd=cwd or outputs.parent, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def train(
    outputs: Path, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    process = start(outputs, *arguments, env=env, cwd=cwd)
    out, err = process.communicate(timeout=200)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
