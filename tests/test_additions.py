"""Test a method of two files in a copy of the project."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from typed_run import output_of

ROOT = Path(__file__).parent.parent
COPIED = ("src/krona", "src/hydra_plugins", "conf", "sweeps", "train.py", "pyproject.toml", "tests")
IGNORED = shutil.ignore_patterns("__pycache__", "torture", "benches")
PAGE = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
METHOD = dict(
    zip(
        re.findall(r"^## \d\. `(.*?)`$", PAGE, flags=re.MULTILINE),
        re.findall(r"```(?:python|yaml)\n(.*?)```", PAGE, flags=re.DOTALL),
        strict=True,
    )
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project with the additions, and a run that uses them."""
    root = tmp_path_factory.mktemp("project")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=IGNORED)
        else:
            shutil.copy(ROOT / name, root / name)
    for name, text in METHOD.items():
        (root / name).write_text(text, encoding="utf-8")
    settings = ["trainer.max_steps=2", "data.train_rows=32", "optimizer.warmup_steps=1"]
    run(root, "train.py", "profile=demo", "method=block_diagonal", *settings)
    return root


def run(root: Path, *command: str) -> str:
    variables = {"PYTHONPATH": str(root / "src"), "KRONA_OUTPUTS": str(root / "outputs")}
    return output_of(sys.executable, *command, cwd=root, **variables)


@pytest.mark.slow
def test_a_method_trains_at_the_demos_rate_and_is_counted(copy: Path) -> None:
    (path,) = copy.glob("outputs/block_diagonal-*/result.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert (result["status"], result["method"]) == ("done", "block_diagonal")
    assert result["config"]["optimizer"]["lr"] == 1e-2
    printed = json.loads(run(copy, "-m", "krona", "params", "method=block_diagonal,lora", "--json"))
    rows = {row["method"]: row["trainable_params"] for row in printed}
    assert rows == {"block_diagonal": 72 * 2 * 768 + 47_616, "lora": 158_208}


@pytest.mark.slow
def test_the_contract_finds_a_method(copy: Path) -> None:
    passed = run(copy, "-m", "pytest", "tests/test_contract.py", "-k", "block_diagonal", "-p", "no:cacheprovider")
    assert re.search(r"\b7 passed", passed)
    run(copy, "-m", "pytest", "tests/test_display_names.py", "-p", "no:cacheprovider")
