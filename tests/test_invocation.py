"""Test that printed commands are in the form in which this user can type them."""

import os
import sys
from pathlib import Path

import pytest

from krona.cli.krona import app
from krona.screen import KRONA, as_typed


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up a project with an environment in .venv that is not on PATH. Return the folder of its programs."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "python3", "krona"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(programs / "python3"))
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return programs


def test_started_by_a_path_the_commands_have_it_too(installed: Path) -> None:
    assert as_typed("next: krona report --sweep a") == "next: .venv/bin/krona report --sweep a"
    assert as_typed("python train.py -m seed=1") == ".venv/bin/python train.py -m seed=1"
    assert as_typed("(krona diff a b), krona status") == "(.venv/bin/krona diff a b), .venv/bin/krona status"


def test_what_is_on_the_path_keeps_its_name(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{installed}{os.pathsep}/usr/bin")
    text = "python train.py method=krona; krona status"
    assert as_typed(text) == text


def test_from_another_folder_paths_are_whole(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "argv", ["../train.py"])
    assert as_typed("krona status") == f"{installed}/krona status"
    assert as_typed("python train.py seed=1") == f"{installed}/python ../train.py seed=1"


def test_krona_itself_may_lie_elsewhere(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin" / "krona")])
    assert as_typed("krona report") == "bin/krona report"


def test_other_words_stay(installed: Path) -> None:
    text = "method=krona task=rte: krona on rte, conf/krona status, ./python train.py"
    assert as_typed(text) == text


def test_every_command_of_krona_is_known() -> None:
    assert {command.name or command.callback.__name__ for command in app.registered_commands if command.callback} == {
        *KRONA.split("|")
    }
