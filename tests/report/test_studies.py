"""Test the report on a study of `krona tune`: its note, and files that do not contain a study."""

import re

import pytest

from krona.report.build import build_report, collect
from krona.report.sentences import describe_study
from report.generate import collected, make_result, write_all
from runs.made_runs import new_study

optuna = pytest.importorskip("optuna", reason="pip install -e '.[tune]'")

NAME = "krona-rte-t5_base"
SHAPES = ["32x24", "2x384", "12x64"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Return the folder of a study with twelve trials. The last two were pruned. Higher rates have better scores."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.trial import TrialState, create_trial

    folder = tmp_path_factory.mktemp("outputs")
    study = new_study(folder, NAME)
    axes = {"optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True), "factors": CategoricalDistribution(SHAPES)}
    for number in range(12):
        lr, shape = 1e-4 * 1.7 ** (number + 1.123456789), SHAPES[number % 3]
        a1, a2 = map(int, shape.split("x"))
        change = {
            "optimizer.lr": lr,
            "method.kron_factors": [[a1, a2], [768 // a1, 768 // a2]],
            "data.train_rows": number,
        }
        done = number < 10
        one = make_result("krona", "rte", sweep=NAME, change=change, status="done" if done else "interrupted", rows=40)
        one.config["score_test"], one.test = False, None
        write_all(folder, [one])
        study.add_trial(create_trial(
            state=TrialState.COMPLETE if done else TrialState.PRUNED, value=50.0 + number if done else None,
            params={"optimizer.lr": lr, "factors": shape}, distributions=axes, intermediate_values={1: 40.0 + number},
            user_attrs={"overrides": [f"optimizer.lr={lr}", f"factors={shape}"], "run_id": one.run_id},
        ))  # fmt: skip
    write_all(folder, [make_result("lora", "rte", rows=40)])
    return folder


def test_a_study_is_a_note_with_its_trials_and_its_best(outputs):
    report = collect(outputs, sweep=NAME)
    (study,) = report.studies
    text = describe_study(study)
    assert text.startswith(f"{NAME}: 12 trials (10 finished, 2 pruned). Trial 9 has the best dev score, 59.00, with ")
    assert re.search(r" with optimizer\.lr=0\.0\d+ factors=32x24\.$", text)
    for form in ("terminal", "html"):
        assert "12 trials" in build_report(outputs, format=form)


def test_a_study_is_in_the_reports_that_have_its_runs(outputs):
    report = collect(outputs, sweep=NAME)
    assert report.title == f"Study {NAME}"
    assert not report.unfinished, "pruned is no run that waits to be finished"
    assert len(report.tables[0].rows) == 10
    assert all(len(row.differs.split("optimizer.lr=")[1]) < 10 for row in report.tables[0].rows), "rates are cut short"
    everything = collect(outputs)
    assert [study.name for study in everything.studies] == [NAME]
    assert any("10 runs without test scores" in note.text for note in everything.tables[0].notes)
    assert collect(outputs, sweep="table1").studies == []


def test_a_file_that_is_no_study_is_named_and_the_rest_is_reported(tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mine.journal").write_text("no database")
    report = collected(tmp_path, [make_result("lora", "rte", rows=40)])
    (problem,) = report.problems
    assert "mine.journal cannot be read" in problem
    assert len(report.runs) == 1
