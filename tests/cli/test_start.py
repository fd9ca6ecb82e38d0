"""The libraries that a command imports: they take seconds, which a user waits for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from krona.paths import PROJECT

SLOW = ["torch", "transformers", "datasets", "pytorch_lightning", "scipy", "pandas", "sklearn", "matplotlib", "wandb"]
CODE = f"""
import runpy, sys
program, *sys.argv[1:] = sys.argv[1:]
try:
    if program == "krona":
        runpy.run_module("krona", run_name="__main__")
    else:
        runpy.run_path(program, run_name="__main__")
finally:
    print("imported:", *[name for name in {SLOW!r} if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("command", "imported"),
    [
        ([str(PROJECT / "train.py"), "--help"], []),
        (["krona", "train", "method=lora", "--help"], []),
        (["krona", "--help"], []),
        (["krona", "status"], []),
        (["krona", "shapes", "64", "64"], []),
        (["krona", "check-data", "sample_rte", "data=sample"], ["torch"]),
    ],
)
def test_a_command_imports_only_what_it_needs(command: list[str], imported: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "KRONA_OUTPUTS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *command], env=environment, cwd=tmp_path, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1].split()[1:] == imported
