"""Files from strangers: no command that reads, shows, checks or counts imports or constructs what a file names."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from krona import paths
from krona.adapters.adapter import AdapterConfig
from krona.cli import train
from krona.cli.krona import app
from krona.config import check
from krona.config.hydra_internals import option_parser
from krona.config.targets import NotAllowedError
from krona.messages import KronaError
from one_job import config, run

PLAN = ["table", "1", "profile=demo", "method=lora", "task=sample_rte", "seed=0", "--dry-run", "--plan"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step."""
    outputs = tmp_path_factory.mktemp("made") / "outputs"
    small = ["trainer.max_steps=1", "optimizer.warmup_steps=0", "data.train_rows=16"]
    job, said = run(config("profile=demo", "method=lora", "task=sample_rte", *small), outputs)
    assert job.state == "done", said
    return job.folder


@pytest.fixture
def poisoned(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The run as a stranger sends it, in an outputs folder with a sweep's file: whatever they name leaves a canary."""
    canary, outputs = tmp_path / "canary", tmp_path / "outputs"
    (tmp_path / "evil_module.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Thing: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    folder = outputs / made.name
    shutil.copytree(made, folder)
    result = json.loads((folder / "result.json").read_text())
    shell = {"_target_": "os.system", "command": f"touch {canary}"}
    result["config"]["logger"] = {"x": shell, "y": {"_target_": "evil_module.Thing"}}
    result["config"]["optimizer"]["_target_"] = "evil_module.Thing"
    result["config"]["method"]["_target_"] = "evil_module.Thing"
    del result["provenance"]["sha256"]  # else the poisoned adapter is refused as damaged, unread
    (folder / "result.json").write_text(json.dumps(result))
    entry = AdapterConfig.read(folder / "adapter.safetensors").model_dump()
    metadata = {"krona": json.dumps(entry | {"branch": "evil_module.Thing"})}
    save_file(load_file(folder / "adapter.safetensors"), folder / "adapter.safetensors", metadata=metadata)
    (outputs / "sweeps").mkdir()
    for name, item in {
        "x": f"++logger.x={{_target_:os.system,command:'touch {canary}'}}",
        "y": "++method._target_=evil_module.Thing",
        "z": "hydra.searchpath=[pkg://evil_module]",
        "v": "+hydra.callbacks.x._target_=evil_module.Thing",
    }.items():
        (outputs / "sweeps" / f"{name}.json").write_text(
            json.dumps({"sweep": name, "overrides": ["method=lora", item]})
        )
    yield SimpleNamespace(run=made.name, folder=folder, outputs=outputs, out=tmp_path / "out")
    assert not canary.exists()
    assert "evil_module" not in sys.modules


def said(*command: str) -> tuple[int, str]:
    """A command's exit code, and what it printed or raised."""
    result = CliRunner().invoke(app, list(command))
    error = result.exception
    assert error is None or isinstance(error, KronaError | SystemExit), (command, repr(error))
    return result.exit_code, f"{result.output}{error or ''}"


def test_commands_that_read_results_alone(poisoned: SimpleNamespace) -> None:
    for command in (
        ["status"], ["report"], ["report", "--format", "html"], ["report", "--table", "1"],
        ["diff", poisoned.run, poisoned.run], ["dashboard", "--folder", str(poisoned.out)], PLAN,
    ):  # fmt: skip
        code, text = said(*command)
        assert code == 0 or "no run in" in text, (command, text)  # the dashboard shows runs with a tracker


def test_commands_that_read_an_adapter(poisoned: SimpleNamespace) -> None:
    (poisoned.out.parent / "rows.tsv").write_text("sentence1\tsentence2\nIt rains.\tIt is wet.\n")
    out, other = str(poisoned.out), poisoned.outputs.parent / "other"
    other.mkdir()
    entry = AdapterConfig.read(poisoned.folder / "adapter.safetensors").model_dump()
    notes = {key: note.replace(poisoned.run, "another-run") for key, note in entry["notes"].items()}
    metadata = {"krona": json.dumps(entry | {"notes": notes})}
    save_file(load_file(poisoned.folder / "adapter.safetensors"), other / "adapter.safetensors", metadata=metadata)
    for command in (
        ["predict", poisoned.run, "--text", "It rains.", "It is wet."],
        ["predict", poisoned.run, "--input", str(poisoned.out.parent / "rows.tsv")],
        ["evaluate", poisoned.run],
        ["inspect", poisoned.run],
        ["export", poisoned.run, "--to", "merged", "--out", out],
        ["export", poisoned.run, "--to", "peft", "--out", out],
        ["merge", str(poisoned.folder), str(other), "--out", f"{out}.safetensors"],
    ):
        code, text = said(*command)
        assert code == 1, (command, text)
        assert "adapter.safetensors" in text, command
        assert "evil_module.Thing" in text, command


@pytest.mark.parametrize(("sweep", "named"), [("x", "os.system"), ("y", "evil_module.Thing")])
def test_a_sweeps_file(sweep: str, named: str, poisoned: SimpleNamespace) -> None:
    _, text = said("status", sweep)
    flat = " ".join(text.split())
    assert str(poisoned.outputs / "sweeps" / f"{sweep}.json") in flat
    assert f"_target_='{named}' is named by a file" in flat


@pytest.mark.parametrize("sweep", ["z", "v"])
def test_a_sweeps_file_that_sets_hydra(sweep: str, poisoned: SimpleNamespace) -> None:
    code, text = said("status", sweep)
    assert code == 1
    assert f"{sweep}.json: a sweep's command can't configure Hydra itself" in text


def shown_job(*overrides: str) -> None:
    train.shown(option_parser().parse_args(["--cfg", "job", "--resolve", *overrides]))


def test_showing_and_counting_call_nothing_that_is_typed(tmp_path: Path) -> None:
    shell = f"++logger.x={{_target_:os.system,command:'touch {tmp_path / 'canary'}'}}"
    with pytest.raises(KronaError, match=r"logger.x._target_='os.system' is a builtin_function_or_method, not a class"):
        shown_job("profile=demo", "method=lora", "task=sample_rte", shell)
    for command in (["params", "method=lora", "task=sample_rte", shell], ["check-data", "sample_rte", shell]):
        assert "not a class" in said(*command)[1]
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_target_": "torch.optim.adamw.sys.exit"}, "can't be imported"),
        ({"_target_": "torch.optim.adamw.adamw"}, "is a function, not a class"),
        ({"_target_": "torch.optim.adamw.Tensor"}, "is not a subclass of torch.optim.Optimizer"),
        ({"_target_": "krona.methods.lora.LoRA"}, "is not a subclass of torch.optim.Optimizer"),
        ({"_target_": ["os", "system"]}, "is named by a file"),
    ],
)
def test_a_way_around_the_list(changes: dict[str, Any], message: str) -> None:
    whole = config("profile=demo", "method=lora", "task=sample_rte")
    whole["optimizer"] |= changes
    with pytest.raises(KronaError, match=message):
        check.settings(whole)


def test_a_class_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_optimizer.py").write_text("import torch\n\n\nclass Mine(torch.optim.AdamW): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    whole = config("profile=demo", "method=lora", "task=sample_rte", "optimizer._target_=own_optimizer.Mine")
    with pytest.raises(NotAllowedError):
        check.settings(whole)
    assert check.settings(whole, own=True).optimizer.target == "own_optimizer.Mine"


def test_a_backbones_own_code(tmp_path: Path) -> None:
    settings = {"model_type": "evil", "auto_map": {"AutoConfig": "evil_code.Thing"}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "evil_code.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()\nclass Thing: ...\n")
    backbone = ["backbone=local", f"backbone.path={tmp_path}"]
    with pytest.raises(KronaError, match=str(tmp_path)):
        shown_job("method=lora", "task=sample_rte", "data=sample", *backbone)
    assert not (tmp_path / "canary").exists()
