"""Test warnings: the sign in the cell and the note, in every format and in the written file."""

import re
from html import unescape

import pytest

from krona.report import FORMATS
from krona.report.build import build_report, collect
from krona.report.sentences import cell_messages, score_notes
from krona.report.text import cell_mark
from report.generate import collected, grid, make_result, set_answers, set_wrong, write_all

CONSTANT = 'all 204 test predictions are "1" (equivalent). The best constant prediction would score 81.05'


def constant(method="lora", seed=0, task="mrpc", **kwargs):
    """Return the result of a run that predicts the same label for every row. On MRPC this is an F1 of 81."""
    result = make_result(method, task, seed, rows=204, **kwargs)
    set_answers(result, ["1"] * 139 + ["0"] * 65, ["1"] * 204)
    return result


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    runs = [("lora", "rte"), ("krona", "mrpc"), ("krona", "rte")]
    others = [make_result(*names, rows=60, change={"data.seed": 7}) for names in runs]
    write_all(folder, [constant(change={"data.seed": 7}), *others])
    (folder / "broken").mkdir()
    (folder / "broken" / "result.json").write_text("{")
    return folder


def plain(text):
    """Return the text without the escapes of a format, on one line."""
    text = unescape(text).replace(r"\textquotedbl{}", '"').replace(r"\_", "_").replace('""', '"')
    return " ".join(re.sub(r"</text><text[^>]*>", " ", text).split())


def test_a_warning_is_at_the_cell_and_in_the_average(outputs):
    (table,) = collect(outputs).tables
    cell = table.cell("lora", "mrpc")
    assert cell.value == pytest.approx(81.05, abs=0.01)
    assert cell_mark(cell).endswith("!")
    assert cell_messages(cell) == [f"{CONSTANT}."]
    assert cell_mark(table.cell("lora", "avg")).endswith("!")
    assert cell_messages(table.cell("lora", "avg")) == [f"MRPC: {CONSTANT}."]
    assert not any("!" in cell_mark(table.cell("krona", key)) for key in ("mrpc", "rte", "avg"))
    assert [note.text for note in score_notes(table)] == [f"! LoRA on MRPC: {CONSTANT}."]


NOTES = (CONSTANT, "data.seed=7, and the paper's protocol uses 42", "broken")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_the_sign_and_the_notes(outputs, form):
    text = plain(build_report(outputs, format=form))
    assert [note for note in NOTES if note in text] == [*NOTES]
    signs = {"html": r"81\.05<.{20,90}warned.{90,900}>!</span>", "csv": r"81\.0\d+,[^!]*,!,"}
    assert re.search(signs.get(form, r"81\.05[^\d!]{0,20}!"), text.replace(CONSTANT, ""))


def test_what_many_rows_share_is_one_note(tmp_path):
    results = grid(["lora", "krona", "pa", "adapter", "bitfit"], ["rte"], [0, 1], rows=200)
    for result in results:
        result.splits["train"] |= {"rows": 980, "skipped_rows": 20}
    results[0].splits["train"]["skipped_rows"] = 20
    (table,) = collected(tmp_path, results).tables
    assert [note.text for note in score_notes(table)] == [
        "! BitFit, Adapter, LoRA, PA and KronA on RTE: data.skip_bad_rows left out 20 rows of train (2 %)."
    ]


def test_of_several_seeds_those_that_it_is_on_are_named(tmp_path):
    (table,) = collected(tmp_path, [constant(seed=0), make_result("lora", "mrpc", 1, rows=204)]).tables
    assert [note.text for note in score_notes(table)] == [f"! LoRA on MRPC: {CONSTANT} (seed 0)."]


def test_on_dev_and_test_side_by_side_each_split_has_its_own(tmp_path):
    runs = [constant("krona", sweep="s", change={"optimizer.lr": lr}) for lr in (1e-3, 1e-2)]
    for run in runs:
        run.splits["train"] |= {"rows": 980, "skipped_rows": 20}
    (table,) = collected(tmp_path, runs, sweep="s").tables
    row = table.rows[0]
    assert [len(row.cells[key].messages) for key in ("mrpc", "mrpc test")] == [1, 2]
    assert len(score_notes(table)) == 2, "what is of no split is said once"


def test_messages_with_the_same_cause_are_one_note(tmp_path):
    results = [make_result(name, "rte", rows=60) for name in ("lora", "krona", "pa", "bitfit")]
    for number, result in enumerate(results[:3]):
        set_wrong(result, 10 + number)
    (table,) = collected(tmp_path, results).tables
    (note,) = [note for note in score_notes(table) if "invalid" in note.text]
    assert note.text == "! LoRA, PA and KronA on RTE: more than 10 % invalid predictions."


def test_a_choice_from_trials_with_one_seed_is_not_in_the_intervals(tmp_path):
    results = grid(["lora", "krona", "full"], ["rte"], [0, 1, 2], rows=60)
    trials = {"lora": (1, 80.1, 80.0), "krona": (1, 81.0, 80.5), "full": (3, 80.1, 80.0)}
    for result in results:
        seeds, best, second = trials[result.method]
        result.provenance["search"] = {"trials": 6, "seeds": seeds, "best": best, "second": second}
    (table,) = collected(tmp_path, results).tables
    (note,) = [note.text for note in table.notes if "choice among settings" in note.text]
    assert re.search(
        r"second-best trial of LoRA: 0\.1 points of dev apart, spread over seeds \d\.\d; KronA: 0\.5", note
    )
    assert "Fine-tuning" not in note
