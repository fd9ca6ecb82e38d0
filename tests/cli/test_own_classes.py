"""Test that commands that only check or count do not import the classes that a conf/ in the working directory names."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from krona import KronaError, paths
from typed_config import render
from typed_run import krona

DEMO = ["profile=demo", "method=lora", "task=sample_rte"]
COMMANDS: dict[str, Callable[[], str | None]] = {
    "check-data": lambda: krona("check-data", "sample_rte", *DEMO[:2]),
    "params": lambda: krona("params", "--backbone", "nano"),
    "table": lambda: krona("table", "1", *DEMO, "seed=0", "--dry-run"),
    "train": lambda: render(*DEMO),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_class_of_the_folder_is_imported(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = {
        "callbacks/none": "mine: {_target_: planted_module.Class}",
        "logger/csv": "mine: {_target_: planted_module.Class}",
        "scheduler/linear": "_target_: planted_module.function",
        "method/lora": "# @package _global_\noptimizer: {_target_: planted_module.Optimizer, lr: 1e-3, betas: [0, 0]}\n"
        "method: {name: lora, _target_: planted_module.Branch, target_modules: [q], rank: 1}",
    }
    for name, text in sections.items():
        file = tmp_path / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"{text}\n")
    (tmp_path / "planted_module.py").write_text("open('imported', 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path / "outputs")
    said = COMMANDS[command]()
    assert not (tmp_path / "imported").exists()
    if command == "params":  # the table without this method
        assert "lora: Its class planted_module.Branch is imported only if the command has method=lora." in str(said)


def test_a_method_of_ones_own_is_counted_if_the_command_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "method").mkdir(parents=True)
    text = "method: {name: mine, _target_: mine_of_this_test.Mine, target_modules: [q, v], rank: 2}"
    (tmp_path / "conf" / "method" / "mine.yaml").write_text(f"# @package _global_\noptimizer: {{lr: 1e-3}}\n{text}\n")
    (tmp_path / "mine_of_this_test.py").write_text("from krona.methods.lora import LoRA as Mine\n")
    (row,) = json.loads(krona("params", "mine", "--backbone", "nano", "--json"))
    assert row["trainable_params"] > 0
    with pytest.raises(KronaError, match=r"method\.rang"):
        krona("params", "mine", "--backbone", "nano", "++method.rang=3")
