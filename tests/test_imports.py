"""Test that the import contracts of pyproject.toml fail for each kind of wrong import."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
WRONG = {  # kind of import → (file, line of code, text of the report)
    "an import of a higher layer": (
        "methods/lora.py", "import krona.training.plan", "krona.methods is not allowed to import krona.training",
    ),
    "an import of the same layer": (
        "tasks/task.py", "import krona.runs.result", "krona.tasks.task -> krona.runs.result",
    ),
    "a cycle of two modules": ("runs/result.py", "import krona.runs.frame", "- .result -> .frame"),
    "Hydra": ("training/plan.py", "import hydra", "krona.training.plan -> hydra"),
    "transformers in surgery": (
        "surgery/merging.py", "import transformers", "krona.surgery.merging -> transformers",
    ),
    "torch in reports": ("report/build.py", "import torch", "krona.report.build -> torch"),
}  # fmt: skip


def test_each_wrong_import_and_a_package_on_no_layer_are_reported(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in (ROOT / "src" / "krona", ROOT / "benchmarks"):
        shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("nano", "__pycache__"))
    for file, line, _ in WRONG.values():
        with (tmp_path / "krona" / file).open("a") as opened:
            opened.write(f"\n{line}\n")
    (tmp_path / "krona" / "unlisted").mkdir()
    (tmp_path / "krona" / "unlisted" / "__init__.py").write_text("import torch\n")
    program = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    done = subprocess.run(
        [program, "--no-cache"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    text = done.stdout + done.stderr
    assert done.returncode == 1
    assert "unlisted" in text
    assert [name for name, (_, _, words) in WRONG.items() if words not in text] == [], text
