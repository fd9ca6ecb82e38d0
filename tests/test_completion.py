"""Completion in bash: the line is put where readline puts it, and what bash would offer is read."""

import shutil
import subprocess

import pytest
from typer.main import get_command

from krona.cli.krona import app
from krona.config.choices import choices, groups
from krona.paths import PROJECT

ASK = """
source completion.bash
compopt() { :; }  # there is no completion under way
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$2
_krona_complete
printf '%s\\n' "${COMPREPLY[@]}"
"""
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")


def offered(line: str, breaks: str = " =") -> list[str]:
    done = subprocess.run(
        ["bash", "-c", ASK, "bash", line, breaks], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("program", ["python train.py", ".venv/bin/python train.py", "./train.py"])
def test_values_of_every_group(program: str) -> None:
    assert offered(f"{program} method=kro") == ["krona", "krona_b", "krona_b_res", "krona_dora"]
    for group in ("task", "backbone", "sweeps"):
        assert offered(f"{program} -m {group}=") == [name for name in choices(group) if "/" not in name]


def test_the_part_behind_a_comma_and_a_shell_that_does_not_break_words_at_the_sign() -> None:
    assert offered("python train.py -m method=lora,krona_d") == ["lora,krona_dora"]
    assert offered("python train.py method=lo", breaks=" ") == ["method=lokr", "method=lora"]


def test_keys() -> None:
    keys = offered("python train.py ")
    assert {f"{group}=" for group in groups() if group not in ("hydra", "bench")} <= set(keys)
    assert {"seed=", "batch_size=", "optimizer.lr=", "trainer.max_epochs="} <= set(keys)
    assert not {"hydra=", "defaults=", "optimizer="} & set(keys)
    assert offered("python train.py trainer.pre") == ["trainer.precision="]
    assert offered("python train.py --cfg ") == ["job", "hydra", "all"]


def test_commands_and_options_of_krona() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(offered(".venv/bin/krona ")) == commands
    assert offered("krona sta") == ["status"]
    assert offered("krona params method=lor") == ["lora"]
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(offered(f"krona {name} --")) <= known, name


def test_another_script_gets_files() -> None:
    assert offered("python READ") == ["README.md"]
