"""Test a report as terminal text, LaTeX and CSV, also with names that are code or control characters."""

import csv
import io
import re
import shutil
import subprocess
import sys

import pytest
from rich.console import Console

from krona.messages import KronaError
from krona.report import FORMATS
from krona.report import text as wording
from krona.report.build import build_report
from krona.sweeps import status
from report.generate import grid, make_result, write_all
from typed_run import krona as run_krona

HOSTILE = "<script>alert(1)</script>_|&%$#{}\\~^*`[x](y)"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    results = grid(["lora", "krona_b_res"], ["rte", "stsb"], [0, 1], rows=80)
    for result in results:
        result.trainable_params *= 2 if result.method == "lora" else 1
    results += [make_result("krona", HOSTILE, 0, kind="own"), make_result("pa", "rte", status="failed")]
    write_all(folder, results)
    return folder


def make_terminal(monkeypatch, width, *, color=False):
    """Make standard output a terminal of this width."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    if color:
        monkeypatch.delenv("NO_COLOR")


@pytest.mark.parametrize("width", [20, 80, 160])
def test_terminal_text_fits_its_width(outputs, monkeypatch, width):
    make_terminal(monkeypatch, width)
    text = build_report(outputs, table="1")
    assert max(len(line) for line in text.splitlines() if not line.startswith("    ")) <= width
    assert "\x1b" not in text
    assert "KronA^B_res" in text, "no name is cut"
    words = " ".join(text.split())
    for part in ("GLUE on google-t5/t5-base", "loss is nan at step 12"):
        assert part in words
    assert re.search(r"\d\d\.\d\d\*", text), "the best is marked without colour too"


@pytest.mark.parametrize(
    ("value", "digits", "shown"), [(-0.04, 1, "0.0"), (-6.14, 1, "−6.1"), (1234.5, 0, "1,234"), (0.07097, -3, "0.071")]
)
def test_numbers_have_a_typographic_minus_and_no_negative_zero(value, digits, shown):
    assert wording.number(value, digits) == shown


def test_color_is_ansi_and_a_file_has_none(outputs, monkeypatch, tmp_path):
    make_terminal(monkeypatch, 100, color=True)
    assert "\x1b[1m" in build_report(outputs, table="1")
    assert "\x1b" not in build_report(outputs, table="1", out=tmp_path / "report.txt")


def test_csv_has_a_line_a_cell_with_unrounded_numbers(outputs):
    rows = list(csv.DictReader(io.StringIO(build_report(outputs, table="1", format="csv"))))
    (cell,) = [r for r in rows if (r["section"], r["row"], r["column"]) == ("GLUE on google-t5/t5-base", "LoRA", "rte")]
    assert cell["paper"] == "74.1"
    assert float(cell["difference"]) == pytest.approx(float(cell["value"]) - 74.1)
    assert cell["seeds"] == "0 1"
    assert cell["metric"] == "acc"
    assert {row["metric"] for row in rows if row["column"] == "stsb"} == {"Pearson, Spearman"}
    assert len(cell["runs"].split()) == 2
    (stsb,) = [r for r in rows if (r["row"], r["column"]) == ("LoRA", "stsb") and r["value"]]
    assert float(stsb["value"]) == pytest.approx((float(stsb["pearson"]) + float(stsb["spearman"])) / 2)
    assert (float(cell["accuracy"]), cell["pearson"]) == (pytest.approx(float(cell["value"])), "")
    missing = [r for r in rows if r["missing"] == "no run"]
    assert missing
    assert [r["messages"] for r in rows if r["table"] == "not finished"] == [
        "loss is nan at step 12: lower optimizer.lr"
    ]


def test_a_name_is_no_formula_in_a_spreadsheet(tmp_path):
    shown = {"=1+1": "'=1+1", "@calc": "'@calc", "x-1": "x-1"}
    write_all(tmp_path, [make_result("krona", name, 0, kind="own") for name in shown])
    rows = list(csv.DictReader(io.StringIO(build_report(tmp_path, format="csv"))))
    assert {*shown.values()} <= {row["column"] for row in rows}


def test_latex_looks_like_the_papers(outputs):
    text = build_report(outputs, table="1", format="latex")
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"KronA\textsuperscript{B}\textsubscript{res}", r"\textbf{"):
        assert part in text
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")


TEX = shutil.which("pdflatex") or shutil.which("tectonic")


def compile_latex(folder, table):
    """Compile a two-column article with a table, and return the lines about boxes that are too wide."""
    (folder / "table.tex").write_text(table)
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs}\usepackage{graphicx}"
    document = r"\begin{document}\input{table}\end{document}"
    (folder / "all.tex").write_text(rf"\documentclass[twocolumn]{{article}}{packages}{document}")
    options = [] if "tectonic" in TEX else ["-interaction=nonstopmode", "-halt-on-error"]
    command = [TEX, *options, "all.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return [line for line in (done.stdout + done.stderr).splitlines() if "Overfull" in line]


@pytest.mark.skipif(TEX is None, reason="Neither pdflatex nor tectonic is installed.")
@pytest.mark.slow
def test_latex_of_two_methods_and_of_table_1_compiles_and_fits_two_columns(outputs, tmp_path):
    write_all(tmp_path / "two", grid(["lora", "krona"], ["rte"], rows=40))
    two = build_report(tmp_path / "two", format="latex")
    assert compile_latex(tmp_path, two) == []
    assert compile_latex(tmp_path, build_report(outputs, table="1", format="latex")) == []


def test_latex_has_the_wanted_columns(tmp_path):
    write_all(tmp_path, grid(["lora", "krona"], ["rte"], rows=40))
    given = ("report", "--outputs", tmp_path, "--format", "latex")
    usual = run_krona(*given)
    assert r"\begin{table}[t]" in usual
    assert re.search(r"^Method & Params \(.*RTE .* & Training \(s\) & Peak memory \(GB\)", usual, re.MULTILINE)
    text = run_krona(*given, "--columns", "time,score")
    assert re.search(r"^Method & Training \(s\) & \\begin\{tabular\}.*RTE", text, re.MULTILINE)
    legend = "significance: Student's t-test over examples and seeds"
    assert usual.count(legend) == text.count(legend) == 1
    with pytest.raises(KronaError, match=r"--columns scor is unknown: did you mean 'score'"):
        run_krona(*given, "--columns", "scor")


def test_warnings_are_comments_in_latex(tmp_path):
    results = grid(["lora", "krona"], ["rte"], rows=60)
    for result in results:
        result.splits["train"] |= {"rows": 980, "skipped_rows": 20}
    write_all(tmp_path, results)
    text = build_report(tmp_path, format="latex")
    lines = [line for line in text.splitlines() if "skip_bad_rows" in line]
    starts = ["% Not compared with the paper: ", "% ! LoRA and KronA on RTE: "]
    assert [line.split("data.")[0] for line in lines] == starts


@pytest.mark.parametrize("format", FORMATS)
def test_no_name_note_or_error_can_command_a_terminal_or_a_spreadsheet(format, tmp_path):
    evil = "\t=x\x1b]0;owned\x07\r=HYPERLINK(1)\u200b\u200e\u202e\u2028\U000e0041"
    odd = make_result("lora", evil, 0, rows=12, epochs=2, change={"optimizer.weight_decay": evil}, kind="own")
    failed = make_result("krona", "rte", 0, rows=12, status="failed")
    failed.error = odd.notes = evil
    odd.notes = [evil]
    write_all(tmp_path, [make_result("lora", "rte", rows=12, epochs=2), odd, failed])
    (tmp_path / "bad\x1b[2J").mkdir()
    (tmp_path / "bad\x1b[2J" / "result.json").write_text("{")
    shown = build_report(tmp_path, format=format)
    hidden = set("\x1b\x07\r\u200b\u200e\u202e\u2028\U000e0041")
    assert not set(shown) & hidden
    console = Console(file=io.StringIO(), width=200)
    status.show(status.find_runs(None, [], tmp_path), console, outputs=tmp_path)
    said = console.file.getvalue()
    assert "owned" in said
    assert not set(said) & hidden
    if format == "csv":
        assert not any(cell.lstrip().startswith("=") for line in shown.splitlines() for cell in line.split(","))
