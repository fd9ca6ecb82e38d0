"""A sweep's runs are kept by their ids, whichever sweep made them."""

import re
from pathlib import Path

import pytest
from hydra import compose
from omegaconf import OmegaConf

from krona.config.compose import hydra_session
from krona.jobs.job import Job
from krona.runs import sweep
from krona.runs.result import write_result
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


def begin(outputs: Path, *typed: str) -> ledger.Ledger:
    """A multirun's start, as Hydra calls it."""
    with hydra_session():
        config = compose(
            "config", overrides=[w for w in typed if "," not in w and "(" not in w], return_hydra_config=True
        )
        config.hydra.sweep.dir = str(outputs)
        config.hydra.overrides.task = list(typed)
        started = ledger.Ledger()
        started.on_multirun_start(config)
        return started


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["seed=range(0,3,0)"], "must not be zero"),
        (["method=glob(zzz*)"], "this axis has no value"),
        (["seed=0,1", "sweep=../mine"], "is not a name"),
        (
            ["seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=x"],
            "hydra.launcher.n_jobs='x' must be",
        ),
        (["seed=0,1", "hydra/launcher=submitit_slurm"], "hydra/launcher=submitit_slurm: sbatch"),
    ],
)
def test_a_sweep_that_is_refused_leaves_nothing(
    typed: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=re.escape(words)):
        begin(tmp_path / "outputs", "profile=demo", *typed)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_list_of_runs_is_named_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (damaged := tmp_path / "sweeps" / "mine.runs.txt").write_bytes(b"\xff\x00")
    with pytest.raises(SystemExit, match=r"mine\.runs\.txt does not contain the ids .* Remove it; the sweep's command"):
        begin(tmp_path, "profile=demo", "seed=0,1", "sweep=mine")
    assert list((tmp_path / "sweeps").iterdir()) == [damaged]


@pytest.mark.parametrize("earlier", [False, True])
def test_a_named_sweep_whose_runs_are_all_refused_is_as_before(
    earlier: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ledger.VARIABLE, "")  # is set by the ledger
    (folder := tmp_path / "sweeps").mkdir()
    if earlier:
        sweep.save_command(folder, "mine", ["seed=7"])
        sweep.save_run_ids(tmp_path, "mine", ["a"])
    before = {path: path.read_bytes() for path in folder.iterdir()}
    started = begin(tmp_path, "profile=demo", "seed=0,1", "sweep=mine")
    ledger.note_job(Job("seed=0", "failed", tmp_path, error="refused"), number=0, overrides=["seed=0"])
    with pytest.raises(SystemExit):
        started.on_multirun_end(OmegaConf.create({"sweep": "mine"}))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
