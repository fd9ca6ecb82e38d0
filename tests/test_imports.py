"""Test that the import contracts of pyproject.toml fail for each kind of wrong import."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WRONG = {  # kind of import → (file, line of code, text of the report)
    "an import of a higher layer": (
        "methods/lora.py", "import krona.training.jobs.job", "krona.methods is not allowed to import krona.training",
    ),
    "an import of the same layer": (
        "tasks/task.py", "import krona.runs.result", "krona.tasks.task -> krona.runs.result",
    ),
    "a cycle of two modules": ("runs/result.py", "import krona.runs.index", "- .result -> .index"),
    "Hydra": ("training/jobs/job.py", "import hydra", "krona.training.jobs.job -> hydra"),
    "transformers in surgery": (
        "surgery/merging.py", "import transformers", "krona.surgery.merging -> transformers",
    ),
    "torch in reports": ("report/build.py", "import torch", "krona.report.build -> torch"),
}  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the Python files of the package and of the benchmarks."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in (ROOT / "src" / "krona", ROOT / "benchmarks"):
        shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("nano", "__pycache__"))
    return tmp_path


def lint(root: Path) -> tuple[int, str]:
    program = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
    done = subprocess.run(
        [program, "--no-cache"], cwd=root, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_each_wrong_import_is_reported(copy: Path) -> None:
    for file, line, _ in WRONG.values():
        with (copy / "krona" / file).open("a") as opened:
            opened.write(f"\n{line}\n")
    code, text = lint(copy)
    assert code == 1
    assert [name for name, (_, _, words) in WRONG.items() if words not in text] == [], text


def test_a_package_on_no_layer_is_reported(copy: Path) -> None:
    (copy / "krona" / "unlisted").mkdir()
    (copy / "krona" / "unlisted" / "__init__.py").write_text("import torch\n")
    code, text = lint(copy)
    assert (code, "unlisted" in text) == (1, True), text
