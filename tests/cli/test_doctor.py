"""Test `krona doctor`: packages, damaged runs, claims and files that were left behind."""

import hashlib
import json
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from krona import paths
from runs import made_runs
from runs.made_runs import aged, claimed, dead_pid, tree
from typed_run import invoke


def run(outputs: Path, name: str = "krona-rte-s0", **changes: Any) -> Path:
    """Write a run whose result has the checksums of its files."""
    files = ("adapter.safetensors", "predictions.jsonl")
    folder = made_runs.run(outputs, name, **changes)
    digests = {
        file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files if (folder / file).is_file()
    }
    shutil.rmtree(folder)
    return made_runs.run(outputs, name, **changes, provenance={"host": "here", "sha256": digests})


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path / "outputs")
    (tmp_path / "outputs").mkdir()
    return tmp_path / "outputs"


def test_fine_and_broken_by_exit_code_and_json(outputs: Path) -> None:
    folder = run(outputs)
    before = tree(outputs)
    done = invoke("doctor")
    assert (done.exit_code, done.output.splitlines()[-1].split(",")[0]) == (0, "nothing is broken"), done.output
    assert all(words in done.output for words in ("python ", "krona ", "packages ", "1 run in", "1 done"))
    assert f"imported from {Path(paths.__file__).parent}\n" in done.output
    assert f"are in {outputs}\n" in done.output
    assert tree(outputs) == before  # the command only reads, and does not even write the index
    (folder / "result.json").write_text('{"run_id": "krona-rte-s0", "status": "do')
    done = invoke("doctor", "--json")
    content = json.loads(done.output)
    assert (done.exit_code, content["broken"]) == (1, 1)
    (line,) = [line for line in content["lines"] if line["level"] == "broken"]
    assert line["fix"].startswith("krona rm krona-rte-s0; ")
    assert "1 thing broken" in invoke("doctor").output


def test_many_alike_stay_on_one_screen(outputs: Path) -> None:
    for number in range(30):
        (run(outputs, f"run-{number}") / "result.json").write_text("{")
    printed = invoke("doctor").output
    assert "and 25 more of these" in printed
    assert len(printed.splitlines()) < 45


def lines(*about: str) -> list[dict[str, Any]]:
    """Return the lines of `krona doctor --json` about some subjects."""
    return [line for line in json.loads(invoke("doctor", "--json").output)["lines"] if line["about"] in about]


def packages(monkeypatch: pytest.MonkeyPatch, *required: str) -> list[dict[str, Any]]:
    monkeypatch.setattr(metadata.PathDistribution, "requires", [*required])
    return lines("package", "packages")


def test_packages_beside_their_bounds(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fine,) = packages(monkeypatch, "torch>=2", "numpy>=1,<9", 'optuna>=99; extra == "tune"')
    assert (fine["level"], fine["text"][:10]) == ("fine", "2 required")
    newer = f"numpy>={metadata.version('numpy')}.1,<9"
    old, missing = packages(monkeypatch, "torch>=2", newer, "no-such-package>=1.5")
    assert "numpy is" in old["text"]
    assert missing["fix"] == f"{sys.executable} -m pip install 'no-such-package>=1.5'"
    assert {old["level"], missing["level"]} == {"broken"}


ABOUT = ("runs", "damaged run", "claims")


def test_a_sound_folder_has_nothing_broken(outputs: Path) -> None:
    run(outputs)
    run(outputs, "half", status="interrupted")
    claimed(run(outputs, "runs", status="running"), os.getpid())
    run(outputs, "fails", status="failed")
    before = tree(outputs)
    (counted,) = lines("runs")
    assert counted["text"].startswith("4 runs in ")
    assert all(f"1 {state}" in counted["text"] for state in ("done", "running", "interrupted", "failed"))
    assert not [line for line in lines(*ABOUT) if line["level"] != "fine"]
    assert tree(outputs) == before
    shutil.rmtree(outputs)
    (counted,) = lines("runs")
    assert counted["text"].startswith("0 runs in ")
    assert not outputs.exists()


def test_a_result_that_cant_be_read(outputs: Path) -> None:
    folder = run(outputs)
    (folder / "result.json").write_text('{"schema": 9}')
    (line,) = lines("damaged run")
    assert (line["level"], "is not a result" in line["text"]) == ("broken", True), line
    assert line["fix"] is None  # the folder may belong to another program


def test_files_of_a_finished_run_that_are_gone_damaged_or_contradictory(outputs: Path) -> None:
    (run(outputs, "a") / "adapter.safetensors").unlink()
    (run(outputs, "b") / "predictions.jsonl").write_bytes(b"")
    adapter = run(outputs, "c") / "adapter.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-3])
    contradicted = run(outputs, "d") / "result.json"
    contradicted.write_text(contradicted.read_text().replace("50.0", "90.0"))
    a, b, c, d = (line["text"] for line in lines("damaged run"))
    assert a.endswith("a/adapter.safetensors does not exist")
    assert b.endswith("b/predictions.jsonl is damaged: Empty JSON file")
    assert "c/adapter.safetensors is damaged or was changed after the run" in c
    assert "its predictions give 50.0" in d


def test_the_claim_of_a_dead_process_is_a_note(outputs: Path) -> None:
    claimed(run(outputs, status="running"), dead_pid())
    (line,) = lines("claims")
    assert (line["level"], line["text"].endswith("which is dead")) == ("note", True)
    assert "krona rm" in str(line["fix"])


@pytest.mark.parametrize("who", ["alive", "elsewhere", "damaged"])
def test_a_claim_whose_process_may_live_is_not_called_dead(who: str, outputs: Path) -> None:
    folder = run(outputs, status="running")
    if who == "damaged":
        (folder / "claim.json").write_text("{")
    else:
        claimed(folder, os.getpid() if who == "alive" else 1, "another-host" if who == "elsewhere" else None)
    if who != "alive":
        aged(folder / "claim.json")
    endings = [line["text"].rsplit(", ")[-1] for line in lines("claims")]
    assert endings == ([] if who == "alive" else ["which may be dead"])
