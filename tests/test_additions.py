"""Files that an addition takes: a method two, a metric one, a report format one, and nothing else is changed."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COPIED = ("src/krona", "src/hydra_plugins", "conf", "sweeps", "train.py")
METHOD = {
    "src/krona/methods/shift.py": '''"""Shift: a learned vector on the output."""

import torch
from torch import Tensor, nn


class Shift(nn.Module):
    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.empty(d_out))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.shift)

    def forward(self, x: Tensor) -> Tensor:
        return self.shift.expand(*x.shape[:-1], -1)
''',
    "conf/method/shift.yaml": """# @package _global_
optimizer:
  lr: 1e-3
method:
  name: shift
  _target_: krona.methods.shift.Shift
  target_modules: [q, v]
  placement: parallel
  train_layer_norms: false
""",
}
METRIC = {
    "src/krona/metrics/scores/error.py": '''"""The share of wrong predictions."""

from krona.metrics.metric import Metric, Sums


def _sums(answers, values):
    wrong = (answers.truth != answers.given)[:, None].astype(float)
    return Sums(wrong, lambda sums: sums[..., 0] * (100.0 / len(answers)))


METRIC = Metric(score=lambda answers: float((answers.truth != answers.given).mean()), sums=_sums)
''',
}
FORMAT = {
    "src/krona/report/formats/rows.py": '''"""The rows alone."""


def render(report, target):
    return "".join(f"{row.label}\\\\n" for table in report.tables for row in table.rows)
''',
}

COMMANDS = ("params method=shift --json", "report --format csv", "report --format rows", "report --help")
PRINT = """
import json, sys
from typer.testing import CliRunner
from krona.cli.krona import app
print(json.dumps({line: CliRunner().invoke(app, line.split(), catch_exceptions=False).stdout for line in sys.argv[1:]}))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the three additions, and a run of them all."""
    root = tmp_path_factory.mktemp("project")
    for name in COPIED:
        source, target = ROOT / name, root / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for name, text in {**METHOD, **METRIC, **FORMAT}.items():
        (root / name).write_text(text, encoding="utf-8")
    settings = ["trainer.max_steps=2", "data.train_rows=32", "optimizer.warmup_steps=1"]
    run(root, "train.py", "profile=demo", "method=shift", "task.metrics=[accuracy,error]", *settings)
    return root


def run(root: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "KRONA_OUTPUTS": str(root / "outputs")}
    done = subprocess.run(
        [sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def printed(copy: Path) -> dict[str, str]:
    """What commands of the copy print, by one process."""
    found: dict[str, str] = json.loads(run(copy, "-c", PRINT, *COMMANDS))
    return found


def test_nothing_else_is_changed(copy: Path) -> None:
    def files(root: Path) -> dict[str, bytes]:
        paths = [path for name in COPIED for path in ((root / name).rglob("*") if "." not in name else [root / name])]
        kept = [path for path in paths if path.is_file() and "__pycache__" not in path.parts]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in kept}

    before, after = files(ROOT), files(copy)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {*METHOD, *METRIC, *FORMAT}
    assert (len(METHOD), len(METRIC), len(FORMAT)) == (2, 1, 1)


def test_a_method_trains_at_the_demo_s_rate_and_is_counted(copy: Path, printed: dict[str, str]) -> None:
    (path,) = copy.glob("outputs/shift-*/result.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert (result["status"], result["method"]) == ("done", "shift")
    assert result["config"]["optimizer"]["lr"] == 1e-2
    (row,) = json.loads(printed["params method=shift --json"])
    assert row["trainable_params"] == 72 * 768


def test_a_metric_is_computed_and_redrawn(copy: Path, printed: dict[str, str]) -> None:
    (path,) = copy.glob("outputs/shift-*/result.json")
    parts = json.loads(path.read_text(encoding="utf-8"))["test"]["parts"]
    assert parts["error"] == pytest.approx(100 - parts["accuracy"])
    (cell,) = [row for row in csv.DictReader(printed["report --format csv"].splitlines()) if row["test_low"]]
    assert float(cell["test_low"]) <= float(cell["value"]) <= float(cell["test_high"])


def test_a_report_format_is_offered(printed: dict[str, str]) -> None:
    assert "shift" in printed["report --format rows"]
    assert "rows" in printed["report --help"]
