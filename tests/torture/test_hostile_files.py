"""Test untrusted files: nothing that they name is imported or run, and nothing behind a link is changed."""

import json
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from krona import paths
from krona.config import check
from krona.config.target_classes import NotAllowedError
from krona.messages import KronaError
from krona.runs.folder import RunFolder
from krona.runs.frame import stored_results
from krona.runs.result import read_result, write_result
from krona.tasks import hub
from one_job import config, run
from runs.made_runs import aged, claimed, dead_pid, tree
from torture.conftest import Losses
from torture.damage import judge, run_command

TARGET = "krona_evil.Thing"
SWEEPS = {
    "target": "++method._target_=krona_evil.Thing",
    "shell": "++logger.x={_target_:os.system,command:'touch fired'}",
    "search": "hydra.searchpath=[pkg://krona_evil]",
    "callback": "+hydra.callbacks.x._target_=krona_evil.Thing",
}
SMALL = ("list", "report")


class Fire:
    """An object whose pickle creates a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def hostile(done: Path, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Return an outputs folder whose links lead to ``mine``. The import of krona_evil creates ``fired``."""
    mine, fired = tmp_path / "mine", tmp_path / "fired"
    (tmp_path / "krona_evil.py").write_text(f"import os\nos.makedirs({str(fired)!r})\nclass Thing: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    monkeypatch.setattr(hub, "unreachable", lambda path="", timeout_s=None: "no network here")

    def copy(name: str) -> Path:
        folder = Path(shutil.copytree(done, outputs / name))
        result = json.loads((folder / "result.json").read_text())
        del result["provenance"]["sha256"]  # otherwise a changed adapter would be rejected before it is read
        (folder / "result.json").write_text(json.dumps({**result, "run_id": name}))
        return folder

    copy("whole")
    result = json.loads((copy("target") / "result.json").read_text())
    shell = {"_target_": "os.system", "command": f"mkdir {fired}"}
    result["config"]["logger"] = {"x": shell, "y": {"_target_": TARGET}}
    for group in ("optimizer", "method"):
        result["config"][group]["_target_"] = TARGET
    (outputs / "target" / "result.json").write_text(json.dumps(result))
    adapter = copy("adapter") / "adapter.safetensors"
    with safe_open(adapter, framework="numpy") as file:
        tensors, notes = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    entry = json.dumps({**json.loads(notes["krona"]), "branch": TARGET})
    save_file(tensors, adapter, metadata={**notes, "krona": entry})
    (outputs.parent / "other").mkdir()
    other = entry.replace('\\"adapter\\"', '\\"another-run\\"')
    save_file(tensors, outputs.parent / "other" / "adapter.safetensors", metadata={**notes, "krona": other})
    pickled = copy("pickled")
    for name in ("adapter.safetensors", "last.ckpt", "predictions.jsonl"):
        (pickled / name).write_bytes(pickle.dumps(Fire(fired)))

    shutil.copytree(done, mine / "run")
    aged(mine / "run" / ".result.json.x1")
    claimed(mine / "run", dead_pid())
    (mine / "canary").write_text("mine")
    (outputs / "linked").symlink_to(mine / "run")
    linked_files = copy("linked-files")
    for name in ("predictions.jsonl", "metrics.csv"):
        (linked_files / name).unlink()
        (linked_files / name).symlink_to(mine / "canary")
    (outputs / "sweeps").mkdir()
    for name, override in SWEEPS.items():
        text = json.dumps({"sweep": name, "overrides": ["method=lora", override]})
        (outputs / "sweeps" / f"{name}.json").write_text(text)
    yield SimpleNamespace(outputs=outputs, mine=mine, fired=fired, out=tmp_path / "out")
    assert not fired.exists()
    assert "krona_evil" not in sys.modules


def commands(out: Path) -> list[list[str]]:
    """Return all commands that read outputs/, each with every run as its argument."""
    plan = ["table", "1", "profile=demo", "method=lora", "task=sample_rte", "seed=0", "--dry-run"]
    found = [["list"], ["list", "target"], ["report", "--format", "latex"], plan]
    found += [["report", "--table", "1"], ["report", "--format", "html", "--out", str(out / "report.html")]]
    found += [["dashboard", "--folder", str(out / "d")]]
    for name in ("whole", "target", "adapter", "pickled", "linked"):
        found += [["predict", name, "--text", "a cat", "a dog"]]
        found += [["export", name, "--to", "merged", "--out", str(out / f"export-{name}")]]
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of wandb_workspaces, when it is imported
@pytest.mark.filterwarnings("ignore:target. krona_evil has changed since this run:UserWarning")  # predict and export
def test_every_command_on_a_hostile_folder(full: bool, hostile: SimpleNamespace, losses: Losses) -> None:
    before = tree(hostile.mine)
    for words in commands(hostile.out):
        if not full and words[0] not in SMALL:
            continue
        crash = judge(partial(run_command, words), ANY)
        if tree(hostile.mine) != before:
            crash = "a link's target was changed"
        if hostile.fired.exists():
            hostile.fired.rmdir()
            crash = "content of the folder was executed"
        losses.add(crash, f"krona {' '.join(words)}")


def test_commands_that_read_an_adapter_name_its_class(hostile: SimpleNamespace) -> None:
    rows, out = hostile.mine.parent / "rows.tsv", str(hostile.out)
    rows.write_text("sentence1\tsentence2\nIt rains.\tIt is wet.\n")
    for command in (
        ["predict", "adapter", "--text", "It rains.", "It is wet."],
        ["predict", "adapter", "--input", str(rows)],
        ["evaluate", "adapter"],
        ["export", "adapter", "--to", "merged", "--out", out],
        ["export", "adapter", "--to", "peft", "--out", out],
    ):
        with pytest.raises(KronaError, match=rf"adapter\.safetensors.*{TARGET}"):
            run_command(command)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("shell", "_target_='os.system' is named by a file"),
        ("target", f"_target_='{TARGET}' is named by a file"),
        ("search", "a sweep's file cannot set options of Hydra"),
        ("callback", "a sweep's file cannot set options of Hydra"),
    ],
)
def test_the_file_of_a_sweep(sweep: str, message: str, hostile: SimpleNamespace) -> None:
    try:
        text = run_command(["list", sweep])
    except KronaError as error:
        text = str(error)
    flat = " ".join(text.split())
    assert str(hostile.outputs / "sweeps" / f"{sweep}.json") in flat
    assert message in flat


@pytest.mark.parametrize(
    ("target", "defaults", "message"),
    [
        ("torch.optim.adamw.sys.exit", None, "cannot be imported"),
        ("torch.optim.adamw.adamw", None, "is a function, not a class"),
        ("torch.optim.adamw.Tensor", None, "is not a subclass of torch.optim.Optimizer"),
        ("krona.methods.lora.LoRA", None, "is not a subclass of torch.optim.Optimizer"),
        (["os", "system"], None, "is named by a file"),
        ("torch.optim.Optimizer", {"x": [{"_target_": "os.system"}]},
         r"optimizer\.defaults\.x\[0\]\._target_='os\.system' is named by a file"),
    ],
)  # fmt: skip
def test_ways_around_the_allow_list(target: Any, defaults: Any, message: str) -> None:
    whole = config("profile=demo", "method=lora", "task=sample_rte")
    whole["optimizer"] |= {"_target_": target} | ({"defaults": defaults} if defaults else {})
    with pytest.raises(KronaError, match=message):
        check.settings(whole)


def test_a_class_of_the_user_is_allowed_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_optimizer.py").write_text("import torch\n\n\nclass Mine(torch.optim.AdamW): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    whole = config("profile=demo", "method=lora", "task=sample_rte", "optimizer._target_=own_optimizer.Mine")
    with pytest.raises(NotAllowedError, match=r"folder of the project.*set KRONA_CONF.*PYTHONPATH") as refused:
        check.settings(whole)
    assert "command line" not in str(refused.value)
    assert check.settings(whole, own=True).optimizer.target == "own_optimizer.Mine"


def test_a_pickle_in_the_place_of_a_checkpoint(values: dict[str, Any], done: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "outputs" / done.name))
    write_result(folder, read_result(folder / "result.json").model_copy(update={"status": "interrupted"}))
    (folder / "last.ckpt").write_bytes(pickle.dumps(Fire(tmp_path / "fired")))
    run(values, tmp_path / "outputs")
    assert not (tmp_path / "fired").exists()


def test_nothing_behind_a_link_is_removed(tmp_path: Path) -> None:
    home, outputs = tmp_path / "home", tmp_path / "outputs"
    for name in ("thesis.tex", ".result.json.x", "last.ckpt", ".now.x", ".takeover.x"):
        aged(home / name, seconds=40 * 86400)
    outputs.mkdir()
    (outputs / "run").symlink_to(home)
    before = tree(home)
    with pytest.raises(KronaError, match="is a symbolic link"):
        RunFolder(outputs / "run").claim()
    RunFolder(outputs / "run").clean()
    stored_results(outputs)
    assert tree(home) == before
