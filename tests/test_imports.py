"""The import contracts of pyproject.toml fail on an import upwards, a circle, Hydra inside, and an unlisted package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the Python files of the package and of the benchmarks."""
    root = tmp_path_factory.mktemp("imports")
    shutil.copy(ROOT / "pyproject.toml", root)
    for folder in (ROOT / "src" / "krona", ROOT / "benchmarks"):
        shutil.copytree(folder, root / folder.name, ignore=shutil.ignore_patterns("nano", "__pycache__"))
    return root


def lint(root: Path) -> tuple[int, str]:
    program = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
    done = subprocess.run(
        [program, "--no-cache"], cwd=root, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_package_keeps_its_contracts(copy: Path) -> None:
    code, text = lint(copy)
    assert (code, "0 broken" in text) == (0, True), text


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        pytest.param(
            "methods/lora.py", "import krona.jobs.job", "krona.methods is not allowed to import krona.jobs", id="up"
        ),
        pytest.param(
            "tasks/task.py", "import krona.runs.result", "krona.tasks.task -> krona.runs.result", id="sideways"
        ),
        pytest.param("runs/result.py", "import krona.runs.index", ".index", id="circle of two modules"),
        pytest.param("jobs/job.py", "import hydra", "krona.jobs.job -> hydra", id="hydra"),
        pytest.param(
            "surgery/merging.py", "import transformers", "krona.surgery.merging -> transformers", id="transformers"
        ),
        pytest.param("report/build.py", "import torch", "krona.report.build -> torch", id="torch"),
        pytest.param("unlisted/__init__.py", "import torch", "unlisted", id="a package on no floor"),
    ],
)
def test_a_wrong_import_fails(copy: Path, file: str, line: str, expected: str) -> None:
    path = copy / "krona" / file
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        code, text = lint(copy)
    finally:
        if before is None:
            shutil.rmtree(path.parent)
        else:
            path.write_text(before)
    assert code == 1
    assert expected in text, text
