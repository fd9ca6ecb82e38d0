"""Test that reports prefer no method whose answers come from a coin, and do not compare runs on different rows."""

import random
import re

import pytest

from krona.metrics.scores import score
from krona.report.build import build_report, collect
from krona.report.notes import score_remarks
from krona.report.wording import summarize
from krona.runs.result import outcomes, unpack_outcomes
from report.generate import collected, make_result, write_all


def answer(result, rng, *, right=0.5):
    """Give the answers of a coin that is right with this probability."""
    for split in ("dev", "test"):
        part = getattr(result, split)
        targets, _ = unpack_outcomes(part["outcomes"])
        given = [target if rng.random() < right else str(1 - int(target)) for target in targets]
        parts = score(["accuracy"], targets, given, ["0", "1"])
        part |= {"score": parts["accuracy"], "choice": parts["accuracy"], "parts": parts}
        part["outcomes"] = outcomes(targets, given)
    return result


def coins(seed, right=(0.5, 0.5)):
    rng = random.Random(seed)
    pairs = zip(("lora", "krona"), right, strict=True)
    return [answer(make_result(m, "rte", s, rows=277), rng, right=share) for m, share in pairs for s in range(3)]


@pytest.mark.parametrize("seed", range(6))
def test_no_sentence_prefers_one_of_two_coins(tmp_path, seed):
    (sentence,) = summarize(collected(tmp_path, coins(seed)))
    assert re.match(r"No row leads on RTE \(n = 277\)(: .* are not significantly different|.* has a warning)", sentence)


def test_a_method_that_is_better_leads(tmp_path):
    (sentence,) = summarize(collected(tmp_path, coins(0, right=(0.5, 0.8))))
    assert re.match(r"KronA \(.*\) leads on RTE \(n = 277\) with [\d.]+; all others are significantly worse", sentence)


def test_a_score_below_the_best_constant_prediction_is_marked(tmp_path):
    (table,) = collected(tmp_path, coins(0, right=(0.3, 0.8))).tables
    assert [row.cells["rte"].warned for row in table.rows] == [True, False]
    assert any("! LoRA on RTE: the interval over examples is not above" in line for line in score_remarks(table))


@pytest.mark.parametrize("change", [{"data.train_rows": 100}, {}])
def test_runs_on_different_training_rows_are_not_compared(tmp_path, change):
    few = make_result("lora", "rte", rows=60, skill=0.9, change=change)
    few.splits["train"]["fingerprint"] = "other rows"
    write_all(tmp_path, [few, make_result("krona", "rte", rows=60, skill=0.5)])
    assert "Pareto" not in build_report(tmp_path, format="html")
    report = collect(tmp_path)
    cells = [row.cells["rte"] for row in report.tables[0].rows]
    assert not any(cell.best or cell.tied for cell in cells)
    assert summarize(report) == []
    assert any(note.startswith("Runs with fewer training rows") for note in report.tables[0].notes)
    assert not any("could not be tested" in note for note in report.tables[0].notes)
