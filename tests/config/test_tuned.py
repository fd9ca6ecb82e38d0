"""Test recipe=tuned: the values of a search, the note about their origin, and equal numbers of trials."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from krona import KronaError
from krona.training.plan import plan_run
from krona.training.run_job import new_result
from runs.made_runs import new_study, run
from typed_config import compose, compose_all, run_id


@pytest.fixture(autouse=True)
def runs_in_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.config.derived_values.OUTPUTS", tmp_path)


def tuned(*words: str, studies: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """Return the config of a command with recipe=tuned, and its note."""
    job = compose("profile=demo", *words, "/".join(["recipe=tuned", *studies]))
    (note,) = job.notes
    return job.config, note


def lr(*words: str) -> float:
    return float(tuned(*words)[0]["optimizer"]["lr"])


def trial(outputs: Path, dev: float, *overrides: str, sweep: str) -> str:
    """Write a finished run that was scored on dev alone. Return its run id."""
    words = ["profile=demo", *overrides, "score_test=false", f"sweep={sweep}"]
    part = {"score": dev, "choice": dev, "parts": {"accuracy": dev}}
    return run(outputs, run_id(*words), config=compose(*words).config, dev=part, test=None).name


OWN = ("optimizer.lr=0.004", "method.scaling=2.0", "factors=2x384", "method.fit_factors=nearest")


def study(
    outputs: Path,
    method: str,
    *dev: float,
    own: tuple[str, ...] = OWN,
    name: str | None = None,
    task: str = "sample_rte",
    fixed: tuple[str, ...] = (),
) -> None:
    """Write a study of finished trials. The first trial has the values ``own``, and all have the values ``fixed``."""
    optuna = pytest.importorskip("optuna", reason="pip install -e '.[tune]'")
    name = name or f"{method}-sample_rte-nano"
    opened = new_study(outputs, name, base=f"{method} {task} nano seed 0")
    for number, score in enumerate(dev):
        overrides = own if number == 0 else (*own[1:], f"optimizer.lr=0.00{number}")
        name_of_run = trial(outputs, score, f"method={method}", *overrides, *fixed, sweep=name)
        attributes = {"overrides": [item.removeprefix("++") for item in overrides], "run_id": name_of_run}
        opened.add_trial(optuna.trial.create_trial(value=score, user_attrs=attributes))


def test_a_study_gives_all_that_it_varied(tmp_path: Path) -> None:
    study(tmp_path, "krona", 80, 70)
    config, note = tuned("method=krona", "seed=3", "method.scaling=8.0")
    assert note == (
        "recipe=tuned took optimizer.lr=0.004 method.scaling=2.0 factors=2x384 method.fit_factors=nearest, the best "
        "of 2 trials on dev (80.00), study krona-sample_rte-nano"
    )
    assert config["method"]["kron_factors"] == [[2, 384], [384, 2]]
    assert config["optimizer"]["lr"] == 0.004
    assert config["method"]["scaling"] == 8.0, "what is typed stays"


def test_a_study_gives_the_factors_of_the_rate(tmp_path: Path) -> None:
    study(tmp_path, "lora", 80, own=("optimizer.lr=0.004", "++optimizer.lr_factors.B=8.0"))
    with pytest.raises(KronaError, match="there is no search of lora"):
        tuned("method=lora", "++optimizer.lr_factors.A=0.5")
    assert tuned("method=lora")[0]["optimizer"]["lr_factors"] == {"B": 8.0}


def test_a_study_of_other_settings_is_not_taken(tmp_path: Path) -> None:
    study(tmp_path, "krona", 80)
    message = r"no search of krona.* The study krona-.* is not used, because it had other values of .*batch_size$"
    with pytest.raises(KronaError, match=message):
        tuned("method=krona", "batch_size=16")


def test_a_method_with_fewer_trials_than_another_is_refused(tmp_path: Path) -> None:
    own = ("optimizer.lr=0.004",)
    study(tmp_path, "krona", 80, 70, 60, own=own)
    study(tmp_path, "lora", 60, 71, own=own)
    assert lr("method=krona") == 0.004, "lora may be unfinished: krona had no fewer"
    with pytest.raises(KronaError, match=r"lora had 2 trials, but krona had 3\b.*krona tune method=lora .* 3"):
        tuned("method=lora")


def test_each_job_of_a_multirun_takes_the_best_of_its_search(tmp_path: Path) -> None:
    study(tmp_path, "krona", 60, 71, 65, own=("optimizer.lr=0.004",))
    (job,) = compose_all("recipe=tuned", "profile=demo", "method=krona")
    assert job.config["optimizer"]["lr"] == 0.001
    assert "the best of 3 trials on dev (71.00)" in job.notes[0]
    with pytest.raises(KronaError, match=r"^recipe=tuned: there is no search of lora on .* krona tune method=lora"):
        tuned("method=lora")


def test_the_result_records_the_trials_their_seeds_and_the_best_two(tmp_path: Path) -> None:
    study(tmp_path, "krona", 80, 70, 75, own=("optimizer.lr=0.004",))
    plan = plan_run(compose("profile=demo", "recipe=tuned", "method=krona"), tmp_path)
    assert new_result(plan).provenance["search"] == {"trials": 3, "seeds": 1, "best": 80, "second": 75}


def test_of_two_studies_that_fit_the_one_with_more_trials_is_used(tmp_path: Path) -> None:
    wide = ("optimizer.lr=0.005", "method.scaling=4.0")
    study(tmp_path, "krona", 80)
    study(tmp_path, "krona", 75, own=wide, name="krona-wide")
    with pytest.raises(KronaError) as raised:
        tuned("method=krona")
    assert "krona-wide (1 trial, dev 75.00); krona-sample_rte-nano (1 trial, dev 80.00)" in str(raised.value)
    assert "To use the first study, write recipe=tuned/krona-wide" in str(raised.value)
    study(tmp_path, "krona", 81, 70, own=("optimizer.lr=0.004",), name="krona-more")
    config, note = tuned("method=krona")
    assert config["optimizer"]["lr"] == 0.004
    assert "study krona-more. Of 3 matching studies, it has the most trials" in note
    assert note.endswith("Seed 0 chose these values, so use other seeds in a comparison")
    assert "chose these values" not in tuned("method=krona", "seed=1")[1]
    assert tuned("method=krona", studies=["krona-wide"])[0]["method"]["scaling"] == 4.0
    with pytest.raises(KronaError, match="the study does not exist: did you mean 'krona-wide'"):
        tuned("method=krona", studies=["krona_wide"])
    with pytest.raises(KronaError, match="recipe=tuned/krona-wide: there is no search of lora on sample_rte"):
        tuned("method=lora", studies=["krona-wide"])


def test_named_studies_alone_are_compared(tmp_path: Path) -> None:
    own = ("optimizer.lr=0.004", "method.scaling=2.0")
    study(tmp_path, "krona", 80, 70, 60, own=own, name="krona-long")
    study(tmp_path, "lora", 80, own=own, name="lora-short")
    study(tmp_path, "krona", 70, own=("optimizer.lr=0.006",), name="krona-short")
    both = ["krona-short", "lora-short"]
    for method in ("krona", "lora"):
        assert f"study {method}-short" in tuned(f"method={method}", studies=both)[1]
    with pytest.raises(KronaError, match=r"lora had 1 trial, but krona had 3\b.* --study lora-short --trials 3"):
        tuned("method=lora", studies=["krona-long", "lora-short"])


def test_a_study_without_a_finished_trial_must_be_resumed(tmp_path: Path) -> None:
    study(tmp_path, "krona", name="begun")
    with pytest.raises(KronaError, match="The study begun has no finished trial yet"):
        tuned("method=krona")
