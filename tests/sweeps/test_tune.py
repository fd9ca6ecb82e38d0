"""Test a study of real runs: scores on dev only, pruning, resuming after a kill, errors, and the last lines."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from krona.messages import KronaError
from krona.paths import CONF
from krona.runs import tune_study
from krona.runs.interrupts import Interrupted
from krona.runs.result import read_result
from krona.runs.studies import Axis, Study, Trial, read_study
from krona.runs.tune_study import (
    counted_trials,
    discard_trial,
    open_storage,
    open_study,
    repeat_dead_trials,
    study_path,
)
from krona.training.jobs.job import Job, JobSpec
from krona.training.jobs.library_warnings import quiet_libraries
from runs.made_runs import dead_pid
from trackers.one_run import SMALL

optuna = pytest.importorskip("optuna", reason="pip install -e '.[tune]'")

from krona.sweeps import tune as loop  # noqa: E402
from krona.sweeps.tune import compose_run, tune  # noqa: E402
from krona.sweeps.tune_space import split_typed  # noqa: E402

SPACE = CONF.parent / "sweeps" / "tune" / "default.yaml"


def small(outputs: Path, *typed: str, trials: int, **kwargs: Any) -> Any:
    quiet_libraries()
    with (outputs / "said.txt").open("a", encoding="utf-8") as file:
        console = Console(file=file, width=200)
        name = tune([*SMALL, *typed], trials=trials, outputs=outputs, space=SPACE, console=console, **kwargs)
        study = read_study(study_path(outputs, name))
        return study, study.require_best()


def trials_of(outputs: Path, name: str) -> list[Any]:
    return optuna.load_study(study_name=name, storage=open_storage(study_path(outputs, name))).trials


def test_a_study_resumes_and_refuses_other_settings(tmp_path: Path) -> None:
    study, _ = small(tmp_path, trials=1)
    assert len(study.trials) == 1
    study, best = small(tmp_path, trials=2)
    name = "krona-sample_sst2-nano"
    trials = trials_of(tmp_path, name)
    assert [trial.number for trial in trials] == [0, 1]
    results = {path.parent.name: read_result(path) for path in tmp_path.glob("*/result.json")}
    for trial in trials:
        assert set(trial.params) == {"optimizer.lr", "method.scaling", "factors"}
        result = results[trial.user_attrs["run_id"]]
        assert result.test is None
        assert result.dev["choice"] == trial.value
        assert result.config["optimizer"]["lr"] == trial.params["optimizer.lr"]
        assert result.config["sweep"] == name
    assert study.name == name
    assert best == read_study(study_path(tmp_path, name)).best
    assert best.value == max(trial.value for trial in trials)
    assert [override.split("=")[0] for override in best.overrides] == [
        *("optimizer.lr", "method.scaling", "factors"),
        "method.fit_factors",  # set by the choice of factors, so that the study's shape fits any backbone
    ]
    with pytest.raises(KronaError, match=r"another setting: batch_size is 16\b.*\b8\b.*--study=ANOTHER_NAME"):
        small(tmp_path, "batch_size=8", trials=3)
    other = tmp_path / "space.yaml"
    other.write_text("axes: {optimizer.lr: {low: 1e-4, high: 1e-3, log: true}}")
    with pytest.raises(KronaError, match="was started with another search space"):
        tune([*SMALL], trials=3, outputs=tmp_path, space=other, console=Console(quiet=True))
    assert len(trials_of(tmp_path, name)) == 2


def test_a_trial_with_a_low_score_is_pruned_after_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: bool(asked.append(trial.number)) or True)
    with pytest.raises(KronaError, match="no finished trial yet"):
        small(tmp_path, trials=1)
    (trial,) = trials_of(tmp_path, "krona-sample_sst2-nano")
    assert trial.state.name == "PRUNED"
    assert list(trial.intermediate_values) == [1]
    (result,) = (read_result(path) for path in tmp_path.glob("*/result.json"))
    assert result.status == "interrupted"
    assert asked == [0]


def test_ctrl_c_while_a_pruned_run_ends_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_job(spec: JobSpec, console: Console) -> Job:
        assert spec.after_epoch is not None
        with pytest.raises(Interrupted):
            spec.after_epoch(SimpleNamespace(best={"choice": 50.0}, dev_curve=[{}]))
        raise Interrupted(signal.SIGINT)  # while the run records that it was pruned

    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: True)
    monkeypatch.setattr(loop, "run_job", run_job)
    with pytest.raises(Interrupted):
        small(tmp_path, trials=1)
    assert trials_of(tmp_path, "krona-sample_sst2-nano")[0].state.name == "RUNNING"  # the next command repeats it


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("factors=typo", "factors=typo does not exist: "),
        ("recipe=typo", "recipe=typo does not exist: "),
        ("recipe=tuned", "A search can't use recipe=tuned"),
        ("recipe=tuned/mine", "A search can't use recipe=tuned"),
        ("method.scalling=2", "method.scalling"),
        ("seed=0,1", "describes 2 runs"),
        ("task=rte data=tsv data.path=/nowhere", "data.path=/nowhere: no such folder"),
        ("optimizer.lr=1e-3 method.scaling=2 factors=2x384", "All searched parameters are fixed"),
    ],
)
def test_a_wrong_command_begins_no_study(typed: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(KronaError, match=re.escape(words)):
        small(tmp_path, *typed.split(), trials=1)
    assert not (tmp_path / "studies").exists()


def test_a_damaged_study_says_how_to_continue(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "s.journal").write_bytes(b'{"op_code"\n\xff\x00\n')
    with pytest.raises(KronaError, match=r"The study \S+/s\.journal can't be opened \(.*\)\. To start a new study"):
        new_study(tmp_path)


def test_a_file_in_place_of_the_studies_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "studies").write_text("")
    with pytest.raises(KronaError, match=r"studies can't be written to: File exists\. .*KRONA_OUTPUTS=FOLDER"):
        new_study(tmp_path)


def test_a_trial_is_composed_as_in_train_py() -> None:
    assert compose_run(SMALL).config["method"]["fit_factors"] == "nearest"
    typed = ["method.kron_factors=[[16,12]]", "method.bias=1", "factors=2x384"]
    method = compose_run([*SMALL, *typed]).config["method"]
    assert (method["kron_factors"], method["fit_factors"], method["bias"]) == ([[16, 12]], "exact", 1)


@pytest.mark.parametrize(
    ("typed", "searched", "said"),
    [
        (["optimizer.lr=1e-3"], "method.scaling factors", "fixed: optimizer.lr=1e-3"),
        (["++optimizer.lr=1e-3", "factors=2x384"], "method.scaling", "fixed: ++optimizer.lr=1e-3 factors=2x384"),
        (["method.kron_factors=[[16,12]]"], "optimizer.lr method.scaling", "fixed: method.kron_factors=[[16,12]]"),
        (["optimizer.weight_decay=0.1"], "optimizer.lr method.scaling factors", ""),
    ],
)
def test_typed_values_are_not_searched(
    typed: list[str], searched: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(tuning: Any, trial: Any) -> None:
        assert set(trial.params) == {axis.key for axis in tuning.axes}
        raise KronaError(" ".join(axis.key for axis in tuning.axes))

    monkeypatch.setattr(loop, "run_trial", stop)
    with pytest.raises(KronaError, match=f"^{re.escape(searched)}$"):
        small(tmp_path, *typed, trials=1)
    lines = (tmp_path / "said.txt").read_text().splitlines()
    assert [line.strip() for line in lines[1:]] == ([said] if said else [])


def test_a_typed_override_wins_over_that_of_an_axis() -> None:
    axes = (Axis("factors", choices=("2x384",), also="method.fit_factors=nearest"),)
    assert split_typed(axes, ["method.fit_factors=exact"]) == ((replace(axes[0], also=""),), [])
    assert split_typed(axes, ["method=krona"]) == (axes, [])


def new_study(outputs: Path, name: str = "s") -> Any:
    return open_study(outputs, name, space="x 0…1", base="b", seed=0)


def test_only_trials_of_dead_processes_are_repeated(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    axis = {"x": optuna.distributions.FloatDistribution(0, 1)}
    living = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    host = os.uname().nodename
    dead, alive, elsewhere = (study.ask(axis) for _ in range(3))
    assert counted_trials(study) == []  # a process that was killed before it recorded its id leaves such trials
    dead.set_user_attr("worker", {"host": host, "pid": dead_pid()})
    alive.set_user_attr("worker", {"host": host, "pid": living.pid})
    elsewhere.set_user_attr("worker", {"host": "another", "pid": 1})
    try:
        assert repeat_dead_trials(study, tmp_path) == 1
        assert repeat_dead_trials(study, tmp_path) == 0
    finally:
        living.kill()
        living.wait()
    assert [trial.number for trial in counted_trials(study)] == [1, 2]
    again = study.ask(axis)
    assert again.params == dead.params


@pytest.fixture
def time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that changes the time zone of this process."""

    def change(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield change
    monkeypatch.undo()
    time.tzset()


def test_a_young_trial_of_a_machine_in_another_time_zone_is_alive(
    tmp_path: Path, time_zone: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(tuning: Any, trial: Any) -> None:
        time_zone("UTC-5")  # five hours later on the clock
        monkeypatch.setattr("krona.runs.holder.is_local", lambda worker: False)
        assert repeat_dead_trials(tuning.study, tmp_path) == 0
        raise KronaError("alive")

    monkeypatch.setattr(loop, "run_trial", end)
    time_zone("UTC")
    with pytest.raises(KronaError, match="alive"):
        small(tmp_path, trials=1)


def test_a_trial_that_another_process_has_discarded_does_not_stop_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_job(spec: JobSpec, console: Console) -> Job:
        study = open_study(tmp_path, "mine", **known)
        if len(study.trials) < 3:
            assert discard_trial(study, len(study.trials) - 1)  # as if this process were dead
        result = SimpleNamespace(dev={"choice": 50.0})
        state = "failed" if len(study.trials) == 1 else "done"
        return Job(spec.run_id, state, spec.folder, None if state == "failed" else result)  # type: ignore[arg-type]

    known: dict[str, Any] = {}
    monkeypatch.setattr(loop, "open_study", lambda *args, **named: known.update(named) or open_study(*args, **named))
    monkeypatch.setattr(loop, "run_job", run_job)
    study, _ = small(tmp_path, trials=1, name="mine")
    assert [(trial.number, trial.state) for trial in study.trials] == [(2, "finished")]


def test_a_trial_with_the_values_of_another_process_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_job(spec: JobSpec, console: Console) -> Job:
        ids.append(spec.run_id)
        result = SimpleNamespace(dev={"choice": 50.0})
        state = "claimed_by_other" if len(ids) == 1 else "done"
        return Job(spec.run_id, state, spec.folder, None if len(ids) == 1 else result)  # type: ignore[arg-type]

    ids: list[str] = []
    monkeypatch.setattr(loop, "run_job", run_job)
    monkeypatch.setattr(loop, "REDRAW_S", 0.0)
    study, _ = small(tmp_path, trials=1)
    assert [(trial.number, trial.state, trial.run_id) for trial in study.trials] == [(1, "finished", ids[1])]
    assert "trial 0: another process runs these values" in (tmp_path / "said.txt").read_text()


def test_a_resumed_study_draws_new_values(tmp_path: Path) -> None:
    axis = {"x": optuna.distributions.FloatDistribution(0, 1)}
    drawn = []
    for _ in range(4):  # each iteration acts as a new process
        study = new_study(tmp_path)
        trial = study.ask(axis)
        study.tell(trial, 0.0)
        drawn.append(trial.params["x"])
    assert len(set(drawn)) == 4
    (tmp_path / "again").mkdir()
    assert new_study(tmp_path / "again").ask(axis).params["x"] == drawn[0], "--seed decides"


def test_the_lock_of_a_killed_writer_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_study(tmp_path)
    path = study_path(tmp_path, "s")
    code = "import os, sys; from pathlib import Path; from krona.runs.tune_study import RepairingLock\n"
    code += "RepairingLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL
    assert path.with_name("s.journal.lock").exists()
    monkeypatch.setattr(tune_study, "LOCK_S", 3)
    study = new_study(tmp_path)
    study.tell(study.ask(), 1.0)
    assert [trial.value for trial in new_study(tmp_path).trials] == [1.0]
    assert [file.name for file in path.parent.iterdir()] == ["s.journal"]


def test_an_incomplete_line_does_not_affect_later_lines(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    study.tell(study.ask(), 1.0)
    path = study_path(tmp_path, "s")
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:20])  # a kill or a full disk in the middle of a write
    assert [trial.value for trial in read_study(path).trials] == []  # not counted without a worker, but readable
    study = new_study(tmp_path)
    study.tell(study.ask(), 2.0)
    assert [trial.value for trial in new_study(tmp_path).trials] == [1.0, 2.0]


def test_a_wrong_name_and_a_study_without_trials(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match="--study='a/b' must not contain /"):
        new_study(tmp_path, "a/b")
    new_study(tmp_path)
    assert read_study(study_path(tmp_path, "s")).best is None
    assert new_study(tmp_path).user_attrs["space"] == "x 0…1"


def test_the_final_command_can_be_pasted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    own = ("optimizer.lr=0.003", "factors=2x384")
    best = Trial(3, "finished", 71.5, {}, "krona-rte-1", overrides=own)
    monkeypatch.setattr(loop, "tune", lambda *args, **kwargs: "s")
    monkeypatch.setattr(loop, "read_study", lambda path: Study("s", [*[best] * 10, replace(best, state="running")]))
    typed = ["method=krona", "data.path=my data/rte", "method.kron_factors=[[16,12]]", "trainer.threads=1"]
    loop.tune_here(typed, trials=10, space=None, study=None, workers=1, seed=0)
    running, first, line = capsys.readouterr().out.splitlines()
    assert running == "1 trial of this study still run in another process"
    assert first == "best of 10 trials: dev 71.50, krona-rte-1"
    words = shlex.split(line)
    assert words[1].endswith("train.py")
    assert words[2:] == [*typed, *own]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_has_its_exit_code(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tune(*args: Any, **options: Any) -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt as error:
            raise SystemExit(1) from error  # as Lightning's trainer does

    monkeypatch.setattr(loop, "tune", tune)
    with pytest.raises(SystemExit) as caught:
        loop.tune_here(["method=krona"], trials=1, space=None, study=None, workers=1, seed=0)
    assert caught.value.code == code
    assert capsys.readouterr().err == "Interrupted. Run the same command again to resume.\n"
