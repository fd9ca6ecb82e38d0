"""Test the first sentence of a report, which prefers no method that answers by chance, and the seeds of a cell."""

import html
import random
import re
from pathlib import Path

import pytest

from krona.report.build import build_report, collect
from krona.report.sentences import next_note, score_notes, summarize
from krona.report.text import cell_mark
from report.generate import collected, grid, make_result, note_texts, set_answers, write_all


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    write_all(folder, grid(["lora", "full"], ["sample_rte", "sample_cola"], [0, 1], rows=40, backbone="nano"))
    return folder


def test_the_same_sentence_opens_the_terminal_and_html(outputs: Path) -> None:
    report = collect(outputs)
    (table,) = report.tables
    (sentence,) = summarize(report)
    best, other = sorted(table.rows, key=lambda row: -(row.cells["avg"].value or 0.0))
    shown = f"{best.label} {best.cells['avg'].value:.2f} and {other.label} {other.cells['avg'].value:.2f}"
    assert other.cells["avg"].tied
    assert sentence.startswith(f"No row leads on the mean of 2: {shown} are not significantly different. ")
    shown = " ".join(build_report(outputs).split())
    assert shown.startswith(f"All runs {sentence} ")
    assert html.unescape(build_report(outputs, format="html")).count(f">{sentence}</p>") == 1


def test_settings_of_one_method_are_named_by_what_differs(tmp_path: Path) -> None:
    shapes = ("3x256", "12x64", "32x24", "48x16", "24x32")
    sides = [tuple(map(int, shape.split("x"))) for shape in shapes]
    changes = [{"method.kron_factors": [[a, b], [768 // a, 768 // b]]} for a, b in sides]
    write_all(tmp_path, [make_result(sweep="factor_shapes", rows=40, change=change) for change in changes])
    report = collect(tmp_path, sweep="factor_shapes")
    (sentence,) = summarize(report)
    assert "KronA (kron_factors=" in sentence


def test_the_next_commands_do_not_compare_dev_scores_of_different_tasks(tmp_path: Path) -> None:
    results = [make_result("lora", task, rows=60, skill=skill) for task, skill in (("rte", 0.6), ("mrpc", 0.9))]
    assert results[0].dev["score"] < results[1].dev["score"]
    report = collected(tmp_path, results)
    note = next_note(report)
    assert note.text == "The run of LoRA on rte with the best dev score:"
    assert note.command == f"krona show {results[0].run_id} --mistakes 20", "its weights were not kept"
    (tmp_path / results[0].run_id / "adapter.safetensors").touch()
    assert next_note(collect(tmp_path)).command == f"krona predict {tmp_path / results[0].run_id} --input FILE"


def test_without_a_mean_each_task_has_a_sentence(tmp_path: Path) -> None:
    report = collected(tmp_path, grid(["lora", "krona_b_res"], ["rte", "cola"], rows=60), table="1")
    first, second = summarize(report)
    assert first.startswith("No row leads on CoLA (n = 60): ")
    assert second.startswith("No row leads on RTE (n = 60): ")


def test_rows_with_the_same_score_are_marked_alike_and_a_lone_row_leads_nothing(tmp_path: Path) -> None:
    assert summarize(collected(tmp_path, [make_result("lora", "rte", rows=40)])) == []
    same = collect(tmp_path).tables[0]
    twice = make_result("krona", "rte", rows=40)
    twice.test, twice.dev = (getattr(make_result("lora", "rte", rows=40), split) for split in ("test", "dev"))
    report = collected(tmp_path, [twice])
    (sentence,) = summarize(report)
    assert "not significantly different" in sentence
    assert sentence.count(f"{same.rows[0].cells['rte'].value:.2f}") == 2
    assert [cell_mark(row.cells["rte"]) for row in report.tables[0].rows] == ["*", "*"]


def test_two_seeds_show_their_range_and_headings_their_metric(outputs: Path) -> None:
    cell = collect(outputs).tables[0].cell("lora", "sample_cola")
    low, high = sorted(cell.by_seed.values())
    shown = f"{low:.2f}…{high:.2f}".replace("-", "−")
    text = build_report(outputs)
    assert "±" not in text
    assert {"MCC", "acc"} <= set(text.split())
    for page in (text, build_report(outputs, format="html")):
        assert shown in page


def test_the_text_of_each_of_two_tables_fits_two_lines_with_its_heading(tmp_path):
    results = [
        make_result(method, "rte", change={"optimizer.lr": rate}, backbone=backbone)
        for method in ("krona", "lora") for rate in (1e-3, 2e-3, 3e-3) for backbone in ("t5_base", "t5_small")
    ]  # fmt: skip
    first, second = summarize(collected(tmp_path, results))
    assert first.startswith("GLUE on google-t5/t5-base: ")
    assert max(len(first), len(second)) <= 280


def answer(result, rng, *, right=0.5):
    """Give the answers of a coin that is right with this probability."""
    for split in ("dev", "test"):
        targets = [target for target, _ in getattr(result, split)["rows"]]
        given = [target if rng.random() < right else str(1 - int(target)) for target in targets]
        set_answers(result, targets, given, split)
    return result


def coins(seed, right=(0.5, 0.5)):
    rng = random.Random(seed)
    pairs = zip(("lora", "krona"), right, strict=True)
    return [answer(make_result(m, "rte", s, rows=277), rng, right=share) for m, share in pairs for s in range(3)]


@pytest.mark.parametrize("seed", [0, 2, 3, 4, 5, 6])  # with 1, p is 0.043, which is expected in 4 % of cases
def test_no_sentence_prefers_one_of_two_coins(tmp_path, seed):
    (sentence,) = summarize(collected(tmp_path, coins(seed)))
    assert re.match(r"No row leads on RTE \(n = 277\)(: .* are not significantly different|.* has a warning)", sentence)


def test_a_method_that_is_better_leads(tmp_path):
    (sentence,) = summarize(collected(tmp_path, coins(0, right=(0.5, 0.8))))
    assert re.match(r"KronA [\d.]+ leads on RTE \(n = 277\); all other compared rows are significantly worse", sentence)


def test_a_score_below_the_best_constant_prediction_is_marked(tmp_path):
    (table,) = collected(tmp_path, coins(0, right=(0.3, 0.8))).tables
    assert [row.cells["rte"].warned for row in table.rows] == [True, False]
    assert any("! LoRA on RTE: the test score is not significantly above" in note.text for note in score_notes(table))


def test_runs_on_different_training_rows_are_not_compared(tmp_path):
    few = make_result("lora", "rte", rows=60, skill=0.9)
    few.splits["train"]["fingerprint"] = "other rows"
    write_all(tmp_path, [few, make_result("krona", "rte", rows=60, skill=0.5)])
    assert "Pareto" not in build_report(tmp_path, format="html")
    report = collect(tmp_path)
    cells = [row.cells["rte"] for row in report.tables[0].rows]
    assert not any(cell.best or cell.tied for cell in cells)
    assert summarize(report) == []
    assert any(note.startswith("Rows with other training settings") for note in note_texts(report.tables[0]))
    assert not any("could not be tested" in note for note in note_texts(report.tables[0]))


def test_with_many_rows_a_sentence_names_the_best_three_and_fits_two_lines(tmp_path):
    changes = [{"optimizer.lr": lr, "method.scaling": n} for lr in (1e-3, 2e-3, 3e-3) for n in (1.0, 2.0, 3.0, 4.0)]
    write_all(tmp_path, [make_result("krona", "rte", rows=60, skill=0.7, change=change) for change in changes])
    report = collect(tmp_path)
    (sentence,) = summarize(report)
    column = report.tables[0].score_columns[0].key
    scores = sorted((row.cells[column].value for row in report.tables[0].rows), reverse=True)
    assert sentence.startswith("No row leads on RTE dev (n = 60): KronA (")
    assert re.findall(r"\) (\d+\.\d\d)", sentence.split(" more are not")[0])[:3] == [f"{one:.2f}" for one in scores[:3]]
    assert len(sentence) <= 280  # about 145 characters fit on a line of the page at 1,400 px
