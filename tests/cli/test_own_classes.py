"""Test that commands that only check or count do not import the classes that a conf/ in the working directory names."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from krona.cli import parameter_table
from krona.cli.check_data import check_data
from krona.cli.train import render_config
from krona.config.hydra_internals import option_parser
from krona.config.overrides import normalize
from krona.messages import KronaError
from krona.sweeps.plan import plan, table_overrides

DEMO = ["profile=demo", "method=lora", "task=sample_rte"]
COMMANDS: dict[str, Callable[[Path], object]] = {
    "check-data": lambda _: check_data("sample_rte", DEMO[:2], Console(quiet=True)),
    "params": lambda _: parameter_table.rows("nano", []),
    "table": lambda outputs: plan(table_overrides("1", [*DEMO, "seed=0"]), outputs=outputs),
    "train": lambda _: render_config(option_parser().parse_args(normalize([*DEMO, "--cfg", "job"]))),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_class_of_the_folder_is_imported(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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
    COMMANDS[command](tmp_path / "outputs")
    assert not (tmp_path / "imported").exists()


def test_a_method_of_ones_own_is_counted_if_the_command_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "method").mkdir(parents=True)
    text = "method: {name: mine, _target_: mine_of_this_test.Mine, target_modules: [q, v], rank: 2}"
    (tmp_path / "conf" / "method" / "mine.yaml").write_text(f"# @package _global_\noptimizer: {{lr: 1e-3}}\n{text}\n")
    (tmp_path / "mine_of_this_test.py").write_text("from krona.methods.lora import LoRA as Mine\n")
    _, left_out = parameter_table.rows("nano")
    assert [line for line in left_out if line.startswith("mine: ")] == [
        "mine: Its class mine_of_this_test.Mine is imported only if the command has method=mine."
    ]
    (row,), _ = parameter_table.rows("nano", ["method=mine"])
    assert row.trainable_params > 0
    with pytest.raises(KronaError, match=r"method\.rang"):
        parameter_table.rows("nano", ["method=mine", "method.rang=3"])
