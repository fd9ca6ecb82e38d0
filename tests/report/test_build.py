"""Test reports with bad files, bad arguments and bad folders: each is named, and the rest is still reported."""

import json
import sys

import pytest

from krona.messages import KronaError
from krona.report import FORMATS
from krona.report.build import build_report, collect
from krona.report.runs import load_runs
from krona.report.sentences import cell_messages
from krona.runs import sweep as sweep_runs
from nested import with_values
from report.generate import grid, make_result, write_all
from typed_run import output_of


def edited(key, value):
    return lambda text: json.dumps(with_values(json.loads(text), {key: value}))


BAD = {
    "truncated": (lambda text: text[: len(text) // 2], "is not a result"),
    "no task": (edited("config.task", None), "is not a result. Its config lacks task"),
    "an unknown kind of data": (edited("data_kind", "secret"), "data_kind='secret' must be 'glue'"),
}


def test_an_unknown_sweep_lists_the_sweeps_of_the_user_first(tmp_path):
    write_all(tmp_path, [make_result("krona", "rte", sweep="zebra")])
    with pytest.raises(KronaError, match=r"The sweep wrong was not found: choose from zebra, "):
        collect(tmp_path, sweep="wrong")


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_and_the_rest_is_reported(tmp_path, kind):
    change, message = BAD[kind]
    good, bad = write_all(tmp_path, [make_result("krona", "rte", 0, rows=40), make_result("lora", "rte", 0, rows=40)])
    path = tmp_path / bad.run_id / "result.json"
    path.write_text(change(path.read_text()))
    report = collect(tmp_path, table="1")
    (problem,) = report.problems
    assert str(path) in problem
    assert message in problem
    assert [run.run_id for run in report.runs] == [good.run_id]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("test.score", 99.0, "test.score is 99.0000, but its parts give"),
        ("test.parts.accuracy", 99.0, "test accuracy is 99.0000, but its predictions give"),
        ("test.parts", {"bleu": 3.0}, "test.parts lacks accuracy"),
    ],
)
def test_a_score_that_its_predictions_contradict_has_a_warning(tmp_path, key, value, message):
    (bad,) = write_all(tmp_path, [make_result("lora", "rte", 0, rows=40)])
    path = tmp_path / bad.run_id / "result.json"
    path.write_text(edited(key, value)(path.read_text()))
    cell = collect(tmp_path).tables[0].cell("lora", "rte")
    assert cell.warned
    assert f"{path.parent} is damaged: {message}" in cell_messages(cell)[0]
    assert cell.test_interval is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"split": "test", "target": "1"', "is damaged"),
        ('{"split": "test", "target": "1", "prediction": 1}\n', "is damaged"),
        ('{"split": "test", "target": "1"}\n', "is damaged: 1 row without prediction"),
        ('{"split": "dev", "target": "?", "prediction": "1"}\n', "is not one of the labels"),
        ('{"split": "test", "target": "1", "prediction": "1"}\n', "There are no rows to score"),
        ("", "is damaged"),
        (None, "predictions.jsonl was not found, so there are no intervals and tests"),
    ],
)
def test_a_damaged_or_missing_file_of_predictions_is_named_at_the_score(tmp_path, content, message):
    results = write_all(tmp_path, [make_result("lora", "rte", 0, rows=40), make_result("krona", "rte", 0, rows=40)])
    file = tmp_path / results[0].run_id / "predictions.jsonl"
    file.unlink() if content is None else file.write_text(content)
    table = collect(tmp_path).tables[0]
    cell, other = table.cell("lora", "rte"), table.cell("krona", "rte")
    assert cell.value == results[0].test["score"]
    assert message in " ".join(cell_messages(cell))
    assert cell.warned == (content is not None)
    assert (cell.test_interval, cell.p, other.p) == (None, None, None)
    assert other.test_interval is not None


def test_two_results_of_one_id_that_differ(tmp_path):
    one, two = tmp_path / "a", tmp_path / "b"
    result = make_result("krona", "rte", 0)
    write_all(one, [result, make_result("lora", "rte", 0)])
    write_all(two, [result])
    runs, problems = load_runs([one, two])
    assert len(runs) == 2
    assert problems == []
    result.notes = ["another"]
    write_all(two, [result])
    runs, problems = load_runs([one, two])
    assert [run.method for run in runs] == ["lora"]
    assert "are different results of one run" in problems[0]


@pytest.mark.parametrize("format", FORMATS)
def test_a_table_without_runs_says_what_makes_them_and_shows_the_papers(tmp_path, format):
    text = build_report(tmp_path, table="6", format=format)
    if format != "csv":
        assert "krona table 6" in text
    assert "93.30" in text or "93.3" in text


def test_no_runs_at_all(tmp_path):
    assert "No finished run under" in build_report(tmp_path)
    with pytest.raises(KronaError, match="nowhere was not found"):
        build_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"table": "3"}, "no table '3'"),
        ({"sweep": "tabel1"}, "did you mean 'table1'"),
        ({"sweep": "table4"}, r"sweeps with runs: table1.* krona train -m"),
        ({"format": "pdf"}, "'pdf' .* csv, html, latex, terminal"),
    ],
)
def test_words_that_mean_nothing_are_refused_with_what_there_is(tmp_path, wrong, message):
    write_all(tmp_path, [make_result("krona", "rte", 0)])
    with pytest.raises(KronaError, match=message):
        build_report(tmp_path, **wrong)


def test_filters_choose_by_name_seed_and_setting(tmp_path):
    write_all(tmp_path, [*grid(["krona", "lora"], ["rte"], range(3)), make_result("krona", "rte", 9)])
    for where in (["method=krona,lora", "seed=0,1"], ["optimizer.lr=2e-3"], ["kron_factors=32x24"], ["run=krona"]):
        assert len(collect(tmp_path, filters=where).runs) == 4
    with pytest.raises(KronaError, match="method=lorra matches no run: did you mean 'lora'"):
        collect(tmp_path, filters=["method=krona,lorra"])


def test_the_filter_of_states_uses_the_current_state(tmp_path):
    killed = make_result("krona", "rte", status="running")
    write_all(tmp_path, [killed, make_result("lora", "rte"), make_result("pa", "rte", status="failed")])
    for key in ("status", "state"):
        (run,) = collect(tmp_path, filters=[f"{key}=interrupted"]).unfinished
        assert run.status == "interrupted"
        assert len(collect(tmp_path, filters=[f"{key}=done"]).runs) == 1
        with pytest.raises(KronaError, match="running matches no run"):
            collect(tmp_path, filters=[f"{key}=running"])


def test_an_output_that_cant_be_written_is_said_first(tmp_path):
    outputs = tmp_path / "outputs"
    write_all(outputs, [make_result("krona", "rte", 0)])
    with pytest.raises(KronaError, match="is a folder"):
        build_report(outputs, format="html", out=outputs)
    (tmp_path / "file").write_text("")
    with pytest.raises(KronaError, match=r"file is not a folder"):
        build_report(outputs, format="html", out=tmp_path / "file" / "report.html")


def test_the_reading_path_imports_nothing_slow(tmp_path):
    write_all(tmp_path, grid(["krona", "lora"], ["rte", "stsb"], [0, 1], rows=40))
    code = (
        "import sys; from pathlib import Path; from krona.report.build import build_report\n"
        "for form in ('terminal', 'csv', 'latex'):\n"
        "    build_report(Path(sys.argv[1]), table='1', format=form)\n"
        "slow = {'torch', 'transformers', 'matplotlib', 'sklearn', 'datasets', 'scipy.stats', 'hydra'}\n"
        "print(*sorted(slow & set(sys.modules)))"
    )
    assert output_of(sys.executable, "-c", code, tmp_path).strip() == ""


def test_a_run_that_another_sweep_made_before_is_a_part_of_both(tmp_path):
    mine, before = (
        make_result("lora", "rte", sweep=sweep, change={"method.rank": rank})
        for sweep, rank in (("ranks", 2), ("table1", 1))
    )
    write_all(tmp_path, [mine, before, make_result("krona", "rte")])
    assert [run.run_id for run in collect(tmp_path, sweep="ranks").runs] == [mine.run_id]
    sweep_runs.save_run_ids(tmp_path, "ranks", [before.run_id])
    sweep_runs.save_run_ids(tmp_path, "ranks", [mine.run_id])
    report = collect(tmp_path, sweep="ranks")
    assert {run.run_id for run in report.runs} == {mine.run_id, before.run_id}
    assert [row.differs for row in report.tables[0].rows] == ["rank=1", "rank=2"]
