"""Test the command `krona report`."""

import re

import pytest

from krona.messages import KronaError
from report.generate import grid, make_result, write_all
from typed_run import krona


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    write_all(folder, [*grid(["krona", "lora"], ["rte"], [0, 1], rows=60), make_result("pa", "rte")])
    return folder


def test_a_table_and_a_selection_of_it(outputs):
    text = krona("report", "--table", "1", "--outputs", outputs)
    assert text.startswith("Table 1")
    assert "\x1b" not in text, "no colour where there is no terminal"
    chosen = krona("report", "--outputs", outputs, "--where", "method=krona,lora")
    assert "LoRA" in chosen
    assert "PA" not in chosen.split()


def test_a_table_has_the_papers_hyper_parameters_and_can_be_named_in_two_ways(outputs):
    text = krona("report", "table1", "--outputs", outputs)
    assert text == krona("report", "--table", "1", "--outputs", outputs)
    assert text == krona("report", "--table", "table1", "--outputs", outputs)
    assert re.search(r"KronA +RTE +lr=0.002, kron_factors=32x24", text)
    assert "max_epochs=20" in " ".join(text.split()), "the paper's value, which differs from the 6 epochs of these runs"
    write_all(outputs, [make_result("krona", "rte", 3, sweep="table16")])
    text = krona("report", "--table", "16", "--outputs", outputs)
    assert text == krona("report", "table16", "--outputs", outputs)
    assert text.startswith("Table 1 with the hyper-parameters of Table 16")


def test_the_page_goes_beside_the_runs_and_its_path_is_printed(outputs, tmp_path):
    assert krona("report", "--format", "html", "--outputs", outputs).strip() == str(outputs / "report.html")
    assert (outputs / "report.html").read_text().startswith("<!DOCTYPE html>")
    out = tmp_path / "new" / "table.csv"
    assert krona("report", "--format", "csv", "--outputs", outputs, "--out", out).strip() == str(out)
    assert out.read_text().startswith("table,section,row")
    out.write_text("mine")
    with pytest.raises(KronaError, match=r"table\.csv exists\. Use --overwrite"):
        krona("report", "--format", "csv", "--outputs", outputs, "--out", out)
    assert out.read_text() == "mine"
    krona("report", "--format", "csv", "--outputs", outputs, "--out", out, "--overwrite")
    assert out.read_text() != "mine"
