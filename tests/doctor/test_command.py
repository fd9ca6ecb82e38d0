"""`krona doctor` as it is typed, and its lines on the installation, the machine and the Hub."""

import json
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from doctor.outputs_folder import run, tree
from krona import paths
from krona.cli.krona import app
from krona.doctor import command, machine
from krona.doctor.installation import packages
from krona.doctor.line import Line
from krona.doctor.surroundings import surroundings
from krona.tasks import hub


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "unreachable", lambda path="", timeout_s=None: "no network here")


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "outputs"
    folder.mkdir()
    monkeypatch.setattr(paths, "OUTPUTS", folder)
    monkeypatch.setattr(machine, "OUTPUTS", folder)
    return folder


def typed(*words: str) -> Any:
    return CliRunner().invoke(app, ["doctor", *words])


def test_fine_and_broken_by_exit_code_and_json(outputs: Path) -> None:
    folder = run(outputs)
    before = tree(outputs)
    done = typed()
    assert (done.exit_code, done.output.splitlines()[-1].split(",")[0]) == (0, "nothing is broken"), done.output
    for words in ("python ", "krona ", "packages ", "device ", "memory ", "runs          1 run: 1 done"):
        assert words in done.output
    assert tree(outputs) == before  # it reads only: not even the index
    (folder / "result.json").write_text("{")
    done = typed("--json")
    content = json.loads(done.output)
    assert (done.exit_code, content["broken"], content["removed"]) == (1, 1, [])
    (line,) = [line for line in content["lines"] if line["level"] == "broken"]
    assert line["mend"].startswith("rm -r ")
    assert "1 thing broken" in typed().output


def test_many_alike_stay_on_one_screen(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        (run(outputs, f"run-{number}") / "result.json").write_text("{")
    printed = typed().output
    assert "and 25 more of these" in printed
    assert len(printed.splitlines()) < 45


def test_any_name_of_a_folder_can_be_printed(outputs: Path) -> None:
    (Path(os.fsdecode(os.fsencode(outputs) + b"/\xff\x1b[31m")) / "result.json").mkdir(parents=True)
    done = typed()
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "\\udcff\\x1b[31m/result.json is no file" in done.output
    assert json.loads(typed("--json").output)["broken"] == 1


def test_packages_beside_their_bounds() -> None:
    (fine,) = packages(["torch>=2", "numpy>=1,<9", 'optuna>=99; extra == "tune"'])
    assert (fine.level, fine.text[:10]) == ("fine", "2 required")
    old, missing = packages(["torch>=2", f"numpy>={metadata.version('numpy')}.1,<9", "no-such-package>=1.5"])
    assert "numpy is" in old.text
    assert "no-such-package is not installed" in missing.text
    assert missing.mend == f"{sys.executable} -m pip install 'no-such-package>=1.5'"
    assert {old.level, missing.level} == {"broken"}


def test_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    full = SimpleNamespace(free=5e8)
    (wrong,) = machine.disks({"cache": tmp_path / "file" / "below"})
    assert (wrong.level, wrong.mend) == ("broken", "export HF_HOME=FOLDER")
    (fine,) = machine.disks({"cache": tmp_path / "new"})
    assert fine.text.endswith("GB free (not made yet)")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    (wrong,) = machine.disks({"cache": tmp_path})
    assert (wrong.level, "0.5 GB free, too little" in wrong.text) == ("broken", True)


def test_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    (tmp_path / "max").write_text("1000000000\n")
    monkeypatch.setattr(machine, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "LIMIT", tmp_path / "max")
    (line,) = [line for line in machine.machine() if line.about == "memory"]
    assert line.text.startswith("1.0 of 1.0 GB available: little")


def test_the_hub_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "WANDB_MODE": "offline", "WANDB_API_KEY": "s3cret", "HF_ENDPOINT": "https://me:pw@mirror", "PATH": "/bin",
    }  # fmt: skip
    line, *variables = surroundings(given)
    assert (line.level, "can't be reached: no network here" in line.text) == ("note", True)
    assert variables == [
        Line("environment", "WANDB_MODE=offline: W&B gets nothing from here", "note", "unset WANDB_MODE"),
        Line("environment", "HF_ENDPOINT=https://…@mirror, WANDB_API_KEY is set"),
    ]
    monkeypatch.setattr(hub, "unreachable", lambda path="", timeout_s=None: None)
    assert next(surroundings({})).level == "fine"


def test_a_library_that_cant_be_imported_is_broken(monkeypatch: pytest.MonkeyPatch, outputs: Path) -> None:
    def fail() -> list[Line]:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(command, "machine", fail)
    wrong = [line for line in command.examine(outputs) if line.level == "broken"]
    assert [(line.about, "No module named 'torch'" in line.text) for line in wrong] == [("machine", True)]
    assert str(wrong[0].mend).endswith("pip install --force-reinstall torch")
    command.show(wrong, [], Console(quiet=True))
