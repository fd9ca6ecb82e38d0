"""Test that the code of the documentation runs, and that its links and names exist."""

import ast
import pkgutil
import re
import sys
from pathlib import Path

import pytest

from krona.backbones.families import FAMILIES
from tiny_t5 import METHODS, method_values
from typed_run import output_of

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def code_blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_surgery_in_fifteen_lines(capsys: pytest.CaptureFixture[str]) -> None:
    (script,) = code_blocks(DOCS / "surgery.md", "python")
    assert len([line for line in script.splitlines() if line]) <= 15
    exec(script, {})
    (comment,) = re.findall(r"# (Count\(.*\))", script)
    assert capsys.readouterr().out.strip() == comment


def test_the_numbers_of_methods_and_architectures_are_current() -> None:
    readme, page = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/adding-a-method.md"))
    architectures = sum(map(len, FAMILIES.values()))
    assert f"{len(METHODS)} methods equal to independent formulas on {architectures} architectures" in readme
    names = [*METHODS, *(f"peft/{path.stem}" for path in (ROOT / "conf" / "method" / "peft").glob("*.yaml"))]
    orders = [method_values(name)["order"] for name in names]
    assert f"krona's methods use {min(orders)} to {max(orders)}" in page


def run_page(command: list[str | Path], folder: Path) -> str:
    """Run the code of a page in an empty folder, and return what it prints."""
    variables = {"KRONA_OUTPUTS": str(folder / "outputs"), "MPLBACKEND": "agg"}
    return output_of(sys.executable, *command, cwd=folder, timeout_s=600, **variables)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_use_an_adapter_run(tmp_path: Path) -> None:
    (tmp_path / "src").symlink_to(ROOT / "src")
    printed = run_page([ROOT / "tests" / "run_page.py", DOCS / "use-an-adapter.md"], tmp_path)
    assert len((tmp_path / "answers.tsv").read_text().splitlines()) == 401
    assert "PeftType.LORA" in printed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_first_hour_run(tmp_path: Path) -> None:
    run_page([ROOT / "tests" / "run_page.py", DOCS / "first-hour.md"], tmp_path)
    assert "<table" in (tmp_path / "first.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_first_hour_in_python_runs(tmp_path: Path) -> None:
    printed = run_page([DOCS / "first_hour.py"], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"outputs", "dev.png", "merged"}
    assert re.search(r"^ *krona +[\d.]+ +[\d.]+ +8064 ", printed, flags=re.MULTILINE), printed


def test_the_names_of_the_package_on_the_pages_exist() -> None:
    """The test covers names that code blocks import, and names in sentences, such as `surgery.merge(model)`."""
    names = set()
    for page in (*DOCS.glob("*.md"), *DOCS.glob("*.py"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        text = page.read_text(encoding="utf-8")
        names |= {
            f"krona.{name}" for name in re.findall(r"`(?:krona\.)?((?:surgery|adapters|trackers)(?:\.\w+)+)", text)
        }
        for code in code_blocks(page, "python") if page.suffix == ".md" else [text]:
            imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
            names |= {f"{node.module}.{one.name}" for node in imports for one in node.names}
    ours = {name for name in names if name.startswith("krona.")}
    assert len(ours) > 10  # the patterns above find names
    for name in ours:
        pkgutil.resolve_name(name)


def test_the_pages_that_the_code_names_exist() -> None:
    for folder in ("src", "conf", "scripts", "benchmarks", "sweeps", "tests"):
        for path in (one for one in (ROOT / folder).rglob("*") if one.suffix in (".py", ".yaml", ".html")):
            for name in re.findall(r"\bdocs/[a-z0-9_/-]+\.(?:md|json)", path.read_text(encoding="utf-8")):
                assert (ROOT / name).exists(), f"{path}: {name}"


def test_the_readmes_and_docs_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
