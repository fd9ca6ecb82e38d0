"""A sweep's runs are kept by their ids, whichever sweep made them."""

from pathlib import Path

import pytest
from hydra import compose
from omegaconf import OmegaConf

from krona.config.compose import hydra_session
from krona.jobs.job import Job
from krona.outputs import sweep
from krona.outputs.result import write_result
from krona.sweeps import ledger, plan
from report.generate import make_result


def test_ids_are_kept_once_and_none_is_lost(tmp_path: Path) -> None:
    assert sweep.load_run_ids(tmp_path, "ranks") == set()
    sweep.save_run_ids(tmp_path, "ranks", ["b", "a"])
    sweep.save_run_ids(tmp_path, "ranks", ["c", "a"])
    assert sweep.load_run_ids(tmp_path, "ranks") == {"a", "b", "c"}
    assert sweep.load_run_ids(tmp_path, "seeds") == set()


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
    assert sweep.load_run_ids(tmp_path, "ranks") == {result.run_id for result in results}


def test_a_sweep_that_is_cut_off_has_from_its_start_what_others_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ledger.VARIABLE, "")  # is set by the ledger
    typed = ["profile=demo", "sweep=ranks", "method=krona,lora,nosuch", "task=sample_rte"]
    there, *_ = plan.plan(["profile=demo", "method=krona", "task=sample_rte"], outputs=tmp_path)
    made = make_result("krona", "sample_rte", sweep="table1")
    made.run_id = there.run_id
    write_result(tmp_path / there.run_id, made)
    with hydra_session():
        config = compose("config", overrides=["sweep=ranks"], return_hydra_config=True)
        config.hydra.sweep.dir = str(tmp_path)
        config.hydra.overrides.task = typed
        ledger.Ledger().on_multirun_start(config)
    assert sweep.load_run_ids(tmp_path, "ranks") == {there.run_id}
