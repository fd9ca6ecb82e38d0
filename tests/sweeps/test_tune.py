"""Test a study of real runs: scores on dev only, pruning, resuming after a kill, errors, and the last lines."""

import io
import re
import shlex
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from krona.config import tuned
from krona.messages import KronaError
from krona.paths import CONF
from krona.runs.claim import this_process
from krona.runs.folder import RunState
from krona.runs.processes import Interrupted
from krona.runs.result import read_result
from krona.runs.studies import Study, Trial, open_storage, read_study, study_path
from krona.training.plan import Plan
from runs.made_runs import claimed, dead_pid, new_study, run
from trackers.one_run import SMALL

optuna = pytest.importorskip("optuna", reason="pip install -e '.[tune]'")

from optuna.distributions import CategoricalDistribution, FloatDistribution  # noqa: E402

from krona.sweeps import tune as loop  # noqa: E402
from krona.sweeps.tune import Axis, Search, compose_run, free_axes, next_trial, open_study, read_space, tune  # noqa: E402

SPACE = CONF.parent / "sweeps" / "tune" / "default.yaml"


CONFIG = {"method": {"kron_factors": [], "scaling": 1.0}, "optimizer": {"lr": 1.0}}


def opened(outputs: Path) -> Any:
    return open_study(outputs, "s", compose_run(SMALL).config, [])[0]


def small(outputs: Path, *typed: str, trials: int, **options: int) -> Any:
    runs = loop.list_runs([*SMALL, *typed])
    name, console = loop.study_names(runs)[0], Console(quiet=True)
    tune(runs[0], name=name, trials=trials, outputs=outputs, space=SPACE, console=console, seed=0, **options)
    study = read_study(study_path(outputs, name))
    return study, study.require_best()


def trials_of(outputs: Path, name: str) -> list[Any]:
    return optuna.load_study(study_name=name, storage=open_storage(study_path(outputs, name))).trials


def test_a_study_resumes_and_other_settings_begin_a_new_study(tmp_path: Path) -> None:
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
    other = tmp_path / "space.yaml"
    other.write_text("axes: {optimizer.lr: {low: 1e-4, high: 1e-3, log: true}}")
    out = Console(file=io.StringIO(), width=500)
    settings: dict[str, Any] = {"name": name, "trials": 0, "outputs": tmp_path, "console": out, "seed": 0}
    assert tune([*SMALL, "batch_size=8"], space=SPACE, **settings) == f"{name}-2"
    assert f"The study {name} was started with other settings: batch_size is 16, but 8 in this" in out.file.getvalue()
    assert tune([*SMALL], space=other, **settings) == f"{name}-3"
    assert tune([*SMALL, "batch_size=8"], space=SPACE, **settings) == f"{name}-2"
    with pytest.raises(KronaError, match=r"other settings: batch_size is 16\b.*\b8\b.*--study=ANOTHER_NAME"):
        tune([*SMALL, "batch_size=8"], space=SPACE, is_named=True, **settings)
    assert len(trials_of(tmp_path, name)) == 2


def test_a_trial_has_several_seeds_and_the_best_trials_run_again_with_others(tmp_path: Path) -> None:
    study, best = small(tmp_path, trials=2, seeds=2, refine=1)
    scores: dict[float, dict[int, float]] = {}
    for path in tmp_path.glob("*/result.json"):
        found = read_result(path)
        assert found.dev is not None
        scores.setdefault(found.config["optimizer"]["lr"], {})[found.seed] = found.dev["choice"]
    for trial in study.trials:
        of_seed = scores[trial.params["optimizer.lr"]]
        assert trial.value == pytest.approx((of_seed[0] + of_seed[1]) / 2)
        assert trial.refined == (pytest.approx((of_seed[2] + of_seed[3]) / 2) if trial == best else None)
    assert best.value == max(trial.value for trial in study.trials)
    config = compose_run([*SMALL, *best.overrides]).config
    _, _, search = tuned.best(config, outputs=tmp_path)
    assert search == {"trials": 2, "seeds": 2, "best": best.refined, "second": None}
    assert len(list(tmp_path.glob("*/result.json"))) == 6
    small(tmp_path, trials=2, seeds=2, refine=2)
    assert len(list(tmp_path.glob("*/result.json"))) == 8, "only the second trial runs again"


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


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("recipe=typo", "recipe=typo does not exist: "),
        ("recipe=tuned", "A search cannot use recipe=tuned"),
        ("seed=0,1", "Two of the studies have the same name: krona-sample_sst2-nano, krona-sample_sst2-nano."),
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
    with pytest.raises(KronaError, match=r"The study \S+/s\.journal cannot be opened \(.*\)\. To start a new study"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("typed", "searched"),
    [
        (["optimizer.lr=1e-3"], ["method.scaling", "factors"]),
        (["++optimizer.lr=1e-3", "factors=2x384"], ["method.scaling"]),
        (["method.kron_factors=[[16,12]]"], ["optimizer.lr", "method.scaling"]),
        (["optimizer.weight_decay=0.1"], ["optimizer.lr", "method.scaling", "factors"]),
    ],
)
def test_values_of_the_command_line_are_not_searched(typed: list[str], searched: list[str]) -> None:
    assert [axis.key for axis in free_axes(read_space(SPACE, CONFIG), typed)] == searched


def test_an_override_of_the_command_line_has_precedence_over_that_of_an_axis() -> None:
    axis = Axis("factors", CategoricalDistribution(["2x384"]), also="method.fit_factors=nearest")
    assert free_axes([axis], ["method.fit_factors=exact"]) == [replace(axis, also="")]
    assert free_axes([axis], ["method=krona"]) == [axis]


def test_only_trials_without_a_living_process_are_resumed(tmp_path: Path) -> None:
    study = new_study(tmp_path, "s")
    search = Search(study, "s", [], [], tmp_path, Console(quiet=True))
    dead, alive, starting, done = (study.ask() for _ in range(4))
    for trial, name in ((dead, "dead"), (alive, "alive"), (done, "done")):
        trial.set_user_attr("run_id", name)
        folder = run(tmp_path, name, status="done" if trial is done else "running")
        if trial is not done:
            claimed(folder, dead_pid() if trial is dead else 1)
    assert next_trial(search, 4).number == dead.number
    study.tell(dead, 1.0)
    assert next_trial(search, 4).number == done.number, "another process has finished the run"
    study.tell(done, 2.0)
    assert next_trial(search, 4) is None, f"{starting.number} has just started"
    assert next_trial(search, 5).number == 4


def test_a_trial_with_the_values_of_another_process_takes_the_score_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_job(spec: Plan, console: Console) -> RunState:
        ids.append(spec.run_id)
        if len(ids) == 1:
            run(tmp_path, spec.run_id, status="interrupted")  # the other process ends immediately
            return RunState(spec.run_id, "running", spec.folder)
        return RunState(spec.run_id, "done already", spec.folder, SimpleNamespace(dev={"choice": 50.0}))

    ids: list[str] = []
    monkeypatch.setattr(loop, "run_job", run_job)
    study, _ = small(tmp_path, trials=1)
    assert [(trial.number, trial.state, trial.run_id) for trial in study.trials] == [(0, "finished", ids[0])]
    assert ids == [ids[0]] * 2


TWO_AXES = [Axis("x", FloatDistribution(0.0, 1.0)), Axis("y", FloatDistribution(0.0, 1.0))]


def propose(outputs: Path, trials: int, *, seed: int = 0, kill_at: int = -1) -> list[dict[str, float]]:
    """Run trials that score -(x - 0.3)² - y, or end with ``kill_at`` unfinished. Return the values of all trials."""
    outputs.mkdir(exist_ok=True)
    search = Search(new_study(outputs, "s"), "s", [], TWO_AXES, outputs, Console(quiet=True), seed)
    while (trial := next_trial(search, trials)) is not None:
        if trial.number == kill_at:
            replace(search, axes=TWO_AXES[: kill_at % 3]).suggest(trial)  # the kill comes after 0, 1 or 2 values
            break
        search.suggest(trial)
        search.study.tell(trial, -((trial.params["x"] - 0.3) ** 2) - trial.params["y"])
    return [one.params for one in trials_of(outputs, "s")]


def test_a_killed_study_proposes_the_values_of_an_unbroken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unbroken = propose(tmp_path / "unbroken", 9)  # Optuna's sampler models the scores from the sixth trial on
    assert len({one["x"] for one in unbroken}) == 9
    with monkeypatch.context() as patch:
        gone = dead_pid()
        patch.setattr(loop, "this_process", lambda token: {**this_process(token), "pid": gone})
        for number in (1, 3, 5, 7, 8):
            assert len(propose(tmp_path / "killed", 9, kill_at=number)) == number + 1
    assert propose(tmp_path / "killed", 9) == unbroken
    assert propose(tmp_path / "other", 1, seed=1) != unbroken[:1], "--seed decides"


def test_the_trial_of_a_dead_process_is_resumed_before_its_run_has_started(tmp_path: Path) -> None:
    """A trial that began less than a minute ago, without a run, waits only if its process may be alive."""
    study = new_study(tmp_path, "s")
    search = Search(study, "s", [], TWO_AXES, tmp_path, Console(quiet=True))
    trial = next_trial(search, 1)
    assert next_trial(search, 1) is None, "this process is alive"
    trial.set_user_attr("process", {**this_process("a"), "pid": dead_pid()})
    assert next_trial(search, 1).number == trial.number
    trial.set_user_attr("process", {**this_process("a"), "pid": dead_pid(), "machine": "another"})
    assert next_trial(search, 1) is None, "the state of another machine's process is unknown"


def test_a_resumed_trial_is_pruned_by_the_epoch_that_it_was_killed_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill a trial between the report of an epoch and the end of its run, as an unbroken study would have pruned it."""
    gone = dead_pid()
    monkeypatch.setattr(loop, "this_process", lambda token: {**this_process(token), "pid": gone})

    def killed(trial: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(optuna.trial.Trial, "should_prune", killed)
    with pytest.raises(Interrupted):
        small(tmp_path, trials=1)
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: True)
    with pytest.raises(KronaError, match="no finished trial yet"):
        small(tmp_path, trials=1)
    (trial,) = trials_of(tmp_path, "krona-sample_sst2-nano")
    assert (trial.state.name, [*trial.intermediate_values]) == ("PRUNED", [1])


def test_an_incomplete_line_does_not_affect_later_lines(tmp_path: Path) -> None:
    study = new_study(tmp_path, "s")
    study.tell(study.ask(), 1.0)
    path = study_path(tmp_path, "s")
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:20])  # a kill or a full disk in the middle of a write
    assert [trial.value for trial in read_study(path).trials] == [1.0]
    study = new_study(tmp_path, "s")
    study.tell(study.ask(), 2.0)
    assert [trial.value for trial in new_study(tmp_path, "s").trials] == [1.0, 2.0]


def test_the_final_command_can_be_pasted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    own = ("optimizer.lr=0.003", "factors=2x384")
    best = Trial(3, "finished", 71.5, {}, "krona-rte-1", overrides=own)
    monkeypatch.setattr(loop, "tune", lambda *args, name, **kwargs: name)
    monkeypatch.setattr(loop, "read_study", lambda path: Study("s", [*[best] * 10, replace(best, state="running")]))
    typed = ["method=krona", "task=rte", "data.path=my data/rte", "method.kron_factors=[[16,12]]", "trainer.threads=1"]
    loop.tune_here(typed, trials=10, space=None, study=None, seed=0)
    running, first, line = capsys.readouterr().out.splitlines()
    assert running == "Trials of this study that another process is still running: 1"
    assert first == "krona-rte-t5-base: best of 10 trials: dev 71.50 with optimizer.lr=0.003 factors=2x384"
    words = shlex.split(line)
    assert words[:2] == ["krona", "train"]
    assert words[2:] == [*typed, *own, "seed=1"], "seed 0 chose the values"


def test_a_command_of_several_runs_has_a_study_for_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[str] = []
    monkeypatch.setattr(loop, "tune", lambda run, name, **kwargs: begun.append(f"{name} {' '.join(run)}") or name)
    monkeypatch.setattr(loop, "read_study", lambda path: Study("s", [Trial(3, "finished", 71.5, {}, "run")]))
    settings = {"trials": 6, "space": None, "seed": 0}
    loop.tune_here(["sweeps=table4", "task=rte", "data.path=glue"], study=None, **settings)
    assert [words.split()[0] for words in begun] == [
        "krona-rte-t5-base-variant=table4_normal",
        "krona-rte-t5-base-variant=table4_kaiming",
    ]
    assert "variant=table4_kaiming" in begun[1]
    assert capsys.readouterr().out.splitlines()[-1].endswith("data.path=glue recipe=tuned seed=1,2,3")
    begun.clear()
    loop.tune_here(["method=lora,krona", "task=rte"], study="mine", **settings)
    assert [words.split()[0] for words in begun] == ["mine-lora-rte-t5-base", "mine-krona-rte-t5-base"]


def test_an_interrupt_has_its_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def tune(*args: Any, **options: Any) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt as error:
            raise SystemExit(1) from error  # as Lightning's trainer does

    monkeypatch.setattr(loop, "tune", tune)
    with pytest.raises(SystemExit) as caught:
        loop.tune_here(["method=krona"], trials=1, space=None, study=None, seed=0)
    assert caught.value.code == 143
    assert capsys.readouterr().err == "Interrupted. Run the same command again to resume.\n"


def test_axes_without_a_key_in_the_config_are_left_out() -> None:
    assert [axis.key for axis in read_space(SPACE, CONFIG)] == ["optimizer.lr", "method.scaling", "factors"]
    assert [axis.key for axis in read_space(SPACE, {"optimizer": {"lr": 1.0}, "method": {}})] == ["optimizer.lr"]
    factors = Axis("factors", CategoricalDistribution(["2x384"]), also="method.fit_factors=nearest")
    assert factors.suggest(optuna.trial.FixedTrial({"factors": "2x384"})) == [
        "factors=2x384",
        "method.fit_factors=nearest",
    ]


def test_a_factor_of_the_rate_is_searched_although_the_config_does_not_set_it() -> None:
    axes = read_space(SPACE.with_name("head_rate.yaml"), {**CONFIG, "optimizer": {"lr": 1.0, "lr_factors": {}}})
    assert [axis.key for axis in axes] == ["optimizer.lr", "optimizer.lr_factors.head"]
    assert axes[1].suggest(optuna.trial.FixedTrial({axes[1].key: 10})) == ["+optimizer.lr_factors.head=10"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nothing: 1", "has no axes"),
        ("axes: {optimizer.lr: {low: 0, high: 1, log: true}}", "axis optimizer.lr is wrong: "),
        ("axes: {optimizer.lr: {factor: 3}, method.scaling: {low: 1, high: 2}}", "method.scaling must have choices or"),
        ("axes: {method.alpha: {low: 0, high: 1}}", "has none of the keys of"),
    ],
)
def test_a_wrong_space_is_one_message(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(content)
    with pytest.raises(KronaError) as error:
        read_space(path, CONFIG)
    assert words in str(error.value)
