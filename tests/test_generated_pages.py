"""Test that generated tables and lists of the documentation are up to date and complete."""

import json
import re
from pathlib import Path

import pages
import pytest
from paper_differences import paper_differences
from typer.testing import CliRunner

from krona.cli.krona import app
from krona.config.target_classes import KINDS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted({path.stem for path in DOCS.glob("methods/*.md")} - {"index", "types-of-peft"})


def test_pages_made_from_the_code_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/cli/test_parameter_counts.py tests the table of the methods, whose counts take six seconds."""
    index = (DOCS / "methods" / "index.md").read_text(encoding="utf-8")
    table = index.partition("<!-- generated: methods -->\n")[2].partition("\n<!-- end -->")[0]
    monkeypatch.setattr(pages, "methods", table.splitlines)
    for name, text in pages.pages().items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, "run make schema"


def test_the_page_of_methods_lists_every_method_with_its_count() -> None:
    """docs/site/pages.py computes the counts, and tests/cli/test_parameter_counts.py checks them."""
    text = (DOCS / "methods" / "index.md").read_text(encoding="utf-8")
    counts = dict(re.findall(r"^\| \[`(\w+)`\]\(\1\.md\) \|.*? \| ([\d,]+) \|", text, flags=re.MULTILINE))
    assert sorted(counts) == PAGES
    for name, count in counts.items():
        page = (DOCS / "methods" / f"{name}.md").read_text(encoding="utf-8")
        (line,) = re.findall(r"^- \*\*Trainable parameters\*\*: (?:.|\n  )*", page, flags=re.MULTILINE)
        assert count in line, name


def test_the_page_of_the_configuration_explains_every_key() -> None:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    meanings = dict(re.findall(r"^- `([\w.]+)`: `[^`]*`.*?\. (.*)$", text, flags=re.MULTILINE))
    assert {"seed", "data.kind", "backbone.name"} <= meanings.keys()
    for key, meaning in meanings.items():
        assert len(meaning.split()) >= 3, key


def test_the_page_of_results_explains_every_field() -> None:
    schema = json.loads((DOCS / "result.schema.json").read_text(encoding="utf-8"))
    for name, field in schema["properties"].items():
        assert field.get("description"), name


def test_the_page_of_security_lists_the_classes_that_a_file_may_name() -> None:
    text = (DOCS / "security.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\w+)(?: of a method)? \| (.* \| .*) \|$", text, flags=re.MULTILINE))
    assert rows.keys() >= KINDS.keys()
    for name, kind in KINDS.items():
        named = [kind.module, kind.functions, kind.base.rpartition(".")[2]]
        assert [word for word in named if word not in rows[name]] == [], name


def test_the_notebook_has_the_current_smallest_differences() -> None:
    text = " ".join((DOCS / "notebook.md").read_text(encoding="utf-8").split())
    printed = json.loads(CliRunner().invoke(app, ["power", "--json"]).stdout)
    for row in printed["tasks"]:
        if row["task"] in ("rte", "sst2"):
            assert f"{row['smallest_difference']['1']:.2f}" in text
            assert f"{row['smallest_difference']['20']:.2f}" in text
    best_cases = [pair.best for pair in paper_differences("1") if pair.best is not None]
    unclear = sum(p > 0.05 for p in best_cases)
    assert f"{len(best_cases)} pairs of neighbouring scores, and {unclear} of these pairs have" in text
