"""Test `krona list`: filters, the remaining time, output in a pipe, and advice for failed runs."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from krona.messages import KronaError
from krona.runs.folder import RunState
from krona.runs.result import Result
from krona.runs.sweep import save_command
from krona.sweeps import status
from report.generate import make_result, write_all
from typed_run import krona, printed


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    results = [make_result("krona", "rte", 0), make_result("krona", "cola", 1)]
    results += [make_result("lora", "rte", 0, status="failed"), make_result("pa", "rte", 0, status="interrupted")]
    write_all(tmp_path, results)
    return tmp_path


def said(outputs: Path, *where: str) -> str:
    runs = status.find_runs(None, where, outputs)
    return printed(lambda console: status.show(runs, console, outputs=outputs))


def test_a_pipe_gets_one_line_per_run_with_the_whole_id(outputs: Path) -> None:
    lines = said(outputs).splitlines()
    for path in outputs.glob("*/result.json"):
        assert sum(line.startswith(f"{path.parent.name} ") for line in lines) == 1
    (line,) = [line for line in lines if "interrupted" in line and line.startswith("pa")]
    assert "epoch 2 of 6" in line  # as the report names it


def test_a_failed_run_says_how_to_repeat_and_how_to_remove_it(outputs: Path) -> None:
    (failed,) = [path.name for path in outputs.iterdir() if path.name.startswith("lora")]
    text = said(outputs, "state=failed")
    assert f"{failed}: loss is nan at step 12: lower optimizer.lr" in text
    assert "retry=failed" in text
    assert f"rm -r {outputs / failed}\n" in text
    assert "rm -r" not in said(outputs, "state=done")


def test_an_unreadable_result_is_a_row_and_one_line(outputs: Path) -> None:
    (outputs / "a broken run").mkdir()
    (outputs / "a broken run" / "result.json").write_text('{"run_id": "a broken run", "status": "do')
    lines = said(outputs, "state=damaged").splitlines()
    assert sum("is not a result" in line for line in lines) == 1
    assert any(line.startswith("a broken run  damaged") for line in lines)
    assert "To repeat a damaged run, remove it, then run its command again." in lines
    assert lines[-1].endswith(f"rm -r '{outputs / 'a broken run'}'")


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("task=rtee", "--where task=rtee matches no run: did you mean 'rte'? (choose from cola, rte)"),
        ("state=wrong", "--where state=wrong matches no run: choose from done, failed, interrupted"),
        ("taks=rte", "--where taks=rte: no run has the key 'taks': did you mean 'task'?"),
    ],
)
def test_a_filter_without_a_match_suggests_the_most_similar_value(outputs: Path, where: str, words: str) -> None:
    with pytest.raises(KronaError) as caught:
        status.find_runs(None, [where], outputs)
    assert str(caught.value).startswith(words)


def test_filters_accept_several_values_and_apply_to_waiting_runs(outputs: Path) -> None:
    config = {"method": {"name": "lora"}, "task": {"name": "mrpc"}, "seed": 7}
    runs = [*status.all_runs(outputs), RunState("lora-mrpc", "waiting", outputs / "lora-mrpc", config=config)]
    runs.append(RunState("method=nosuch", "wrong", outputs / "method=nosuch"))
    counts = {"method=lora,pa": 3, "task=mrpc": 1, "seed=7": 1, "method=nosuch": 1, "run=krona-": 2}
    for where, count in counts.items():
        assert len(status.filter_runs(runs, [where], status._filter_value, status.KEYS)) == count


def test_a_sweep_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.paths.OUTPUTS", tmp_path)
    save_command(tmp_path, "mine", ["profile=demo", "seed=0,1"])
    assert "2 runs: 2 waiting" in krona("list", "mine")
    with pytest.raises(KronaError, match="did you mean 'mine'"):
        krona("list", "mime")


def finished(method: str, task: str, seconds: Sequence[float], backbone: str = "google-t5/t5-base") -> list[Result]:
    found = []
    for seed, total in enumerate(seconds):
        result = make_result(method, task, seed)
        result.config["backbone"] = {"name": backbone}
        result.times["total"] = total
        found.append(result)
    return found


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("lora rte b", 20.0),
        ("full rte b", 40.0),
        ("full qnli b", 20.0),
        ("lora rte unknown", None),
    ],
)
def test_the_finest_group_that_has_a_finished_run_gives_its_median(
    names: str, expected: float | None, tmp_path: Path
) -> None:
    results = finished("lora", "rte", [10.0, 20.0, 90.0], "b") + finished("pa", "rte", [60.0], "b")
    results += finished("lora", "cola", [5.0], "b") + finished("lora", "sst2", [7000.0], "other")
    write_all(tmp_path, [*results, make_result("lora", "rte", 9, status="failed")])
    config = {group: {"name": name} for group, name in zip(("method", "task", "backbone"), names.split(), strict=True)}
    assert status.seconds_left([RunState("x", "waiting", tmp_path / "x", config=config)], tmp_path) == expected


def test_a_dry_run_has_the_expected_time_of_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.paths.OUTPUTS", tmp_path)
    one = ["table", "1", "task=rte,cola", "method=lora,full", "--dry-run"]
    assert krona(*one).endswith("4 runs: 4 waiting\n")
    write_all(tmp_path, finished("lora", "rte", [100.0, 300.0]))
    assert krona(*one).endswith("4 runs: 4 waiting; about 13 min left in one process\n")


def test_a_dry_run_of_a_table_has_the_papers_hyper_parameters_beside_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("krona.paths.OUTPUTS", tmp_path)
    first, *lines = krona("table", "16", "task=rte,mnli", "--dry-run").splitlines()
    assert first == "Hyper-parameters beside the paper's (Tables 10 to 18)"
    shown = [line.split() for line in lines[2:4]]
    common = ["scaling=1,", "batch_size=100,", "max_epochs=20,", "warmup_steps=500", "the", "same"]
    assert shown == [
        ["KronA", "RTE", "lr=0.002,", "kron_factors=32x24,", *common],
        ["KronA", "MNLI", "lr=0.001,", "kron_factors=2x384,", *common],
    ]
    (adapter,) = [
        line
        for line in krona("table", "1", "task=rte", "method=adapter", "--dry-run").splitlines()
        if line.startswith("Adapter")
    ]
    assert re.search(r"bottleneck_dim=1,.* bottleneck_dim=24 \(Table 12's reduction factor 32; ", adapter)
    changed = krona("table", "14", "task=rte", "optimizer.lr=0.005", "--dry-run").splitlines()
    assert re.search("LoRA +RTE +lr=0.005, .* lr=0.001$", changed[3].rstrip())
