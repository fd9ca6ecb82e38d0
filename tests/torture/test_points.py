"""Run the tests of single points again in `make torture`, so that each point has a row in its table."""

import re
import subprocess
import sys
from typing import Any

import pytest

from krona.paths import PROJECT
from torture.conftest import FULL

PEFT, EXPORT = "adapters/test_peft.py::test_", "adapters/test_export.py::test_"
POINTS = {
    "exports that replace": ["test_folders.py"],
    "links in outputs": ["torture/test_hostile_files.py::test_nothing_behind_a_link_is_removed", "cli/test_doctor.py"],
    "left-over files": [
        "sweeps/test_multirun.py::test_a_sweep_continues_after_failures",
        "cli/test_bad_input.py::test_wrong_arguments_are_one_message",
        "cli/test_init.py",
    ],
    "unbounded files": [
        "tasks/test_files.py",
        "adapters/test_adapter.py::test_a_file_without_an_adapter",
        f"{EXPORT}a_full_disk_leaves_nothing",
    ],
    "formulas, hidden characters": [
        "report/test_formats.py::test_a_name_is_no_formula_in_a_spreadsheet",
        "report/test_fuzz.py",
    ],
    "peft: tied, norms, checked": [
        f"{PEFT}an_embedding_that_is_tied_to_the_output_layer_is_refused",
        f"{PEFT}some_norms_go_out_and_come_in",
        f"{EXPORT}a_folder_that_peft_reads_differently_is_refused",
    ],
    "clocks": ["runs/test_claim.py::test_a_living_owner_keeps_its_claim_with_any_clock"],
    "races of 8 processes": ["runs/test_claim.py::test_of_eight_started_together_exactly_one_has_the_claim"],
    "killed sweeps": ["sweeps/test_workers.py", "sweeps/test_launchers.py"],
}
OUTCOME = re.compile(r"(?P<passed>\S+::.+ PASSED)|(?P<failed>(?:FAILED|ERROR) \S+::.+)")  # of pytest -vv -rfE


@pytest.mark.parametrize("full", [FULL])
@pytest.mark.parametrize("part", POINTS)
def test_point(part: str, full: str, book: Any) -> None:
    tests = [str(PROJECT / "tests" / name) for name in POINTS[part]]
    command = [sys.executable, "-m", "pytest", "-vv", "-rfE", "--tb=no", "-m", "not torture", *tests]
    with book(part) as found, subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout or ():
                if outcome := OUTCOME.match(line):
                    found.add(outcome["failed"] and "failed", line)
        finally:
            process.kill()
