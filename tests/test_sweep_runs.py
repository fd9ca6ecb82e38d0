"""A sweep's runs are kept by their ids, whichever sweep made them."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from krona import ledger, sweep_runs
from krona.jobs import Job
from krona.results import write_result
from report.generate import make_result


def test_ids_are_kept_once_and_none_is_lost(tmp_path: Path) -> None:
    assert sweep_runs.noted(tmp_path, "ranks") == set()
    sweep_runs.note(tmp_path, "ranks", ["b", "a"])
    sweep_runs.note(tmp_path, "ranks", ["c", "a"])
    assert sweep_runs.noted(tmp_path, "ranks") == {"a", "b", "c"}
    assert sweep_runs.noted(tmp_path, "seeds") == set()


def test_the_end_of_a_multirun_keeps_also_what_was_done_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = tmp_path / "sweeps" / "jobs-1"
    notes.mkdir(parents=True)
    monkeypatch.setenv(ledger.VARIABLE, str(notes))
    results = [make_result("krona", "rte", sweep="table1"), make_result("lora", "rte", sweep="ranks")]
    for number, (result, state) in enumerate(zip(results, ("skipped", "done"), strict=True)):
        write_result(tmp_path / result.run_id, result)
        ledger.note_job(Job(result.run_id, state, tmp_path / result.run_id), number=number, overrides=[])
    ledger.note_job(Job("method=nosuch", "failed", tmp_path, error="no such method"), number=2, overrides=[])
    with pytest.raises(SystemExit):
        ledger.Ledger().on_multirun_end(OmegaConf.create({"sweep": "ranks"}))
    assert sweep_runs.noted(tmp_path, "ranks") == {result.run_id for result in results}
