"""Test tables on terminals of any width and in a pipe, numbers with nouns, masked passwords, and printed commands."""

import io
import os
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console
from rich.text import Text

from krona.cli.krona import app
from krona.formatting import KRONA, as_typed, override_text, say, table
from krona.messages import KronaError, did_you_mean
from krona.report.layouts import find_layout

HEADINGS = ("run", "state", "progress", "dev")
ROWS = [
    ["krona-sample_rte-nano-32x24-s0-1f3a5c7e9b", Text("done", style="green"), "", "71.01"],
    ["lora-sample_rte-nano-s0-0123456789", "running", "epoch 2 of 5", "9.30"],
]


def lines(width: int | None) -> list[str]:
    return table(HEADINGS, ROWS, width=width, left=("run", "state", "progress")).plain.splitlines()


@pytest.mark.parametrize("width", [20, 60])
def test_a_record_a_row_where_it_does_not(width: int) -> None:
    shown = lines(width)
    assert [row[0] for row in ROWS] == [line for line in shown if not line.startswith(" ")]
    assert max(len(line) for line in shown if line.startswith(" ")) <= max(width, len("  progress epoch 2 of 5"))
    assert "progress epoch 2 of 5" in "\n".join(shown)
    assert "progress" not in "\n".join(shown[: shown.index(ROWS[1][0])])  # columns without a value are left out


EVIL = "a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc\rd\u202ee\x9b31m"


def test_no_text_can_command_a_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=True, color_system=None)
    say(console, f"run {EVIL}")
    say(console, Text(f"run {EVIL}", style="red"))
    say(console, table(("run", "state"), [[EVIL, Text(EVIL, style="green")]], width=200))
    shown = out.getvalue() + as_typed(EVIL) + str(KronaError(EVIL))
    assert shown.count("]52;c;ZXZpbA==") == 6
    assert not set(shown) & set("\x1b\x07\r\u202e\x9b")
    assert r"a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc\rd\u202ee\x9b31m" in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_only_a_quiet_console_prints_nothing(terminal: bool) -> None:
    for quiet in (False, True):
        out = io.StringIO()
        say(Console(file=out, quiet=quiet, force_terminal=terminal, width=9, color_system=None), "a line", wrap=False)
        assert out.getvalue() == ("" if quiet else "a line\n")


@pytest.mark.parametrize("wrong", ["selfattention", "SELFATENTION", "SelfAtention"])
def test_a_suggestion_is_the_real_name(wrong: str) -> None:
    assert did_you_mean(wrong, ["DenseReluDense", "SelfAttention"]).startswith("did you mean 'SelfAttention'?")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up a project with an environment in .venv that is not on PATH. Return the folder of its programs."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "krona"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return programs


def test_started_by_a_path_the_commands_have_it_too(installed: Path) -> None:
    assert as_typed("next: krona report --sweep a") == "next: .venv/bin/krona report --sweep a"
    assert as_typed("python train.py -m seed=1") == ".venv/bin/python train.py -m seed=1"
    assert as_typed("(krona diff a b), krona status") == "(.venv/bin/krona diff a b), .venv/bin/krona status"
    others = "method=krona task=rte: krona on rte, conf/krona status, ./python train.py"
    assert as_typed(others) == others


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
    assert as_typed("python train.py -m seed=1") == "bin/krona train -m seed=1"
    assert find_layout(None, "table1").command == "krona train -m sweeps=table1"


def test_every_command_of_krona_is_known() -> None:
    assert {command.name or command.callback.__name__ for command in app.registered_commands if command.callback} == {
        *KRONA.split("|")
    }


@pytest.mark.parametrize(
    "text",
    ["/tmp/a-b", "", "a b", "a,b", "it's", "a\\", "a\\'b", "\\\\'", "x=[1]", "{q}", "#1", "~/g", "é/x", "(1", "x\\y z"],
)
def test_hydra_reads_a_text_as_it_was(text: str) -> None:
    assert OverridesParser.create().parse_override(f"key={override_text(text)}").value() == text
