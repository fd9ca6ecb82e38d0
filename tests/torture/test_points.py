"""Run the tests of single points again in `make torture`, so that each point has a row in its table."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from krona.paths import PROJECT
from torture.conftest import FULL

POINTS = {
    "exports that replace": ["test_folders.py"],
    "links in outputs": ["torture/test_hostile_files.py::test_nothing_behind_a_link_is_removed", "cli/test_doctor.py"],
    "unbounded data files": ["tasks/test_text_lines.py"],
    "formulas in CSV": ["report/formats/test_formats.py::test_a_name_is_no_formula_in_a_spreadsheet"],
    "tied embeddings": ["adapters/test_peft.py::test_an_embedding_that_is_tied_to_the_output_layer_is_refused"],
    "clocks": ["runs/test_claim.py::test_a_living_owner_keeps_its_claim_with_any_clock"],
    "races of 8 processes": ["runs/test_claim.py::test_of_eight_started_together_exactly_one_has_the_claim"],
    "killed sweeps": ["sweeps/launchers/test_running.py", "sweeps/test_workers.py"],
}


@pytest.mark.parametrize("full", [FULL])
@pytest.mark.parametrize("part", POINTS)
def test_point(part: str, full: str, tmp_path: Path, book: Any) -> None:
    tests = [str(PROJECT / "tests" / name) for name in POINTS[part]]
    file = tmp_path / "results.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not torture", f"--junitxml={file}", *tests]
    subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=600, check=False)
    with book(part) as found:
        for case in ElementTree.parse(file).iter("testcase"):
            wrong = [one.get("message") for one in case if one.tag in ("failure", "error")]
            found.add(f"{case.get('name')}: {wrong[0]}" if wrong else None)
