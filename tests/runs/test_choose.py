"""Test the choice of a run without its name: `--best SWEEP`, and the list of runs."""

from pathlib import Path

import pytest

from krona import paths
from krona.messages import KronaError
from krona.runs.choose import choose_runs
from krona.runs.result import Result, write_result
from krona.runs.sweep import save_run_ids
from report.generate import make_result
from typed_run import invoke


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Result]:
    """Return runs by name: three runs of the sweep night, and runs of other sweeps."""
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path)
    made = {
        "low": make_result("lora", sweep="night"),
        "high": make_result("krona", sweep="night"),
        "failed": make_result("krona", seed=1, sweep="night", status="failed"),
        "earlier": make_result("bitfit", sweep="day"),
        "other": make_result("lora", "cola", sweep="tasks"),
        "task": make_result("lora", seed=3, sweep="tasks"),
    }
    for name, score in (("low", 60.0), ("high", 70.0), ("earlier", 80.0), ("other", 99.0), ("task", 10.0)):
        dev = made[name].dev
        assert dev is not None
        dev["score"] = score
    for result in made.values():
        (tmp_path / result.run_id).mkdir()
        write_result(tmp_path / result.run_id, result)
    return made


def test_the_best_run_of_a_sweep_has_the_highest_dev_score(
    results: dict[str, Result], capsys: pytest.CaptureFixture[str]
) -> None:
    best = results["high"].run_id
    assert choose_runs(None, "night") == [best]
    assert capsys.readouterr().err == f"The best of 2 runs of night on dev is {best} (70.00).\n"
    save_run_ids(paths.OUTPUTS, "night", [results["earlier"].run_id])  # finished before the sweep started
    assert choose_runs(None, "night") == [results["earlier"].run_id]


def test_a_tie_is_named(results: dict[str, Result], capsys: pytest.CaptureFixture[str]) -> None:
    low = results["low"]
    assert low.dev is not None
    low.dev["score"] = 70.0
    low.provenance["finished"] = "2026-01-01T00:05:00"  # the first that finished stays the best
    write_result(paths.OUTPUTS / low.run_id, low)
    first, second = low.run_id, results["high"].run_id
    assert choose_runs(None, "night") == [first]
    assert capsys.readouterr().err == f"The best of 2 runs of night on dev is {first} (70.00), tied with {second}.\n"


def test_without_a_choice_it_is_one_message(results: dict[str, Result], tmp_path: Path) -> None:
    with pytest.raises(KronaError, match=r"No finished run belongs to a sweep nihgt: did you mean 'night'\?"):
        choose_runs(None, "nihgt")
    with pytest.raises(KronaError, match=r"The sweep tasks has runs of several tasks \(cola, rte\)"):
        choose_runs(None, "tasks")
    with pytest.raises(KronaError, match=r"a and --best night are two choices"):
        choose_runs(["a"], "night")
    for command in ("predict", "export", "evaluate", "show"):
        failed = invoke(command)
        assert failed.exit_code
        assert str(failed.exception).startswith("No run was given. Give the beginning of a run's id, or --best SWEEP.")
        assert results["high"].run_id in str(failed.exception)
        assert results["failed"].run_id not in str(failed.exception)


def test_show_uses_the_best_run(results: dict[str, Result]) -> None:
    shown = invoke("show", "--best", "night")
    assert not shown.exit_code
    assert f"{results['high'].run_id}: done" in shown.output
