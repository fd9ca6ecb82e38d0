"""Completion in bash: Hydra's for train.py and typer's for krona."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from krona.config.choices import choices
from krona.paths import PROJECT

COMPLETE = """
eval "$(python train.py -sc install=bash)"
COMP_LINE=$1 COMP_POINT=${#1} COMP_CWORD=2
hydra_bash_completion
printf '%s\\n' "${COMPREPLY[@]}"
"""
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_hydra_completes_the_choices_and_keys_of_train_py() -> None:
    command = ["bash", "-c", COMPLETE, "bash", "python train.py task=sample_"]
    done = subprocess.run(
        command, cwd=PROJECT, env={**os.environ, "PATH": PATH}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.split() == [f"task={name}" for name in choices("task") if name.startswith("sample_")]


def test_typer_completes_the_commands_of_krona() -> None:
    asked = {"_KRONA_COMPLETE": "complete_bash", "COMP_WORDS": "krona sta", "COMP_CWORD": "1"}
    code = "from krona.cli.krona import app; app(prog_name='krona')"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True)
    assert done.stdout.split() == ["status"]
