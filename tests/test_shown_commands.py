"""Test that the real parsers accept every command in README and docs. `OTHERS` lists the exceptions with reasons."""

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from hydra import compose

from krona.cli.krona import app
from krona.cli.run_commands import STARTER
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import expand

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHERS = {  # other programs → the reason why no test runs the commands
    "pip": "needs the package index; tests/test_wheel.py installs",
    "wandb": "needs an account of W&B; tests/trackers run agents without one",
    "source": "changes the shell that reads it",
}
OURS = ("krona", "python", "make")
GAPS = {"recipe=tuned"}  # overrides that need the results of an earlier command of the page


def shown(page: Path) -> list[str]:
    """Return the commands in the code blocks of a page, without comments and without output."""
    found = []
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for block in (text for language, text in blocks if language in ("", "bash")):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for command in re.split(r" {2,}|\s#", line)[0].split(" && "):
                program = command.removeprefix(".venv/bin/").partition(" ")[0]
                if program in (*OURS, *OTHERS) and " " in command and "…" not in command:
                    found.append(command.removeprefix(".venv/bin/"))
    return found


@pytest.fixture(autouse=True)
def _project_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the project that `krona init` writes, because the pages use its task and method."""
    monkeypatch.chdir(STARTER)


@pytest.mark.parametrize("page", [page for page in PAGES if shown(page)], ids=lambda page: page.stem)
def test_every_command_of_a_page_can_be_typed(page: Path) -> None:
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    with hydra_session():
        for command in shown(page):
            program, *words = shlex.split(command)
            if program == "make":
                assert {*(words[2:] if words[0] == "-C" else words)} <= {*targets}, command
            elif program == "krona" and words[0] == "train":
                _composes(words[1:])
            elif program == "krona":
                _parses(words)
                typed = [word for before, word in pairwise(words) if not before.startswith("--")]
                typed = [word for word in typed if re.match(r"[a-z_.]+=", word)]
                _composes(["-m", *typed] if words[0] == "tune" else typed)
            elif words[:1] == ["train.py"]:
                _composes(words[1:])
            elif words[:1] == ["bench.py"]:
                compose("bench", overrides=words[1:])
            else:
                assert program in OTHERS, command


def _parses(words: Sequence[str]) -> None:
    """Check that `krona` has the command and accepts the options and arguments."""
    group = typer.main.get_command(app)
    with group.make_context("krona", [words[0]]) as context:
        name, command, _ = group.resolve_command(context, [words[0]])
        command.make_context(name, list(words[1:]), parent=context).close()


def _composes(words: Sequence[str]) -> None:
    """Check that Hydra composes a config from the words. Of a sweep, the first and the last run are checked."""
    overrides = [word for word in words if "=" in word and word not in GAPS]
    jobs = expand(overrides) if "-m" in words else [tuple(overrides)]
    for job in {jobs[0], jobs[-1]}:
        compose_job(job)


def test_a_command_within_a_sentence_has_a_name_and_options_that_are_there() -> None:
    """The options are looked up but not parsed, because `krona report --where …` contains a placeholder."""
    group = typer.main.get_command(app)
    checked = 0
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for line in re.findall(r"`krona ([a-z][^`]*)`", text):
            name, *words = line.split()
            command = group.commands.get(name)
            assert command, (page.name, line)
            known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert options <= known or name in ("train", "bench"), (page.name, line, options - known)
            checked += 1
    assert checked > 20  # check that the pages contain such commands


def test_a_command_that_nobody_can_type_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for line in ("krona reprot --table 1", "krona report --tabel 1", "python train.py methd=krona", "make dmeo"):
        page.write_text(f"```\n{line}      a comment\n$ output\n```\n", encoding="utf-8")
        assert shown(page) == [line]
        with pytest.raises(Exception, match=r"reprot|tabel|methd|dmeo"):
            test_every_command_of_a_page_can_be_typed(page)
