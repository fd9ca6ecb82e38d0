"""Test the composition of jobs and sweeps, the folders of the runs, and the files in .hydra/."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose as compose_by_hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from krona import KronaError, paths
from krona.config.compose import build_job, compose_job, hydra_session, runs_folder
from typed_config import check, compose, compose_all
from typed_run import PROJECT

JOBS = (
    ("method=krona", "task=rte", "seed=1"),
    ("method=krona", "task=rte", "seed=2", "optimizer.lr=1e-3"),
    ("method=krona", "task=rte", "method.kron_factors=[[2,384]]"),
    ("method=krona", "task=rte", "~optimizer.gradient_clip", "++method.terms=2"),
    ("profile=demo", "method=lora", "seed=1", "trainer.max_epochs=2"),
    ("profile=demo", "seed=2", "method=lora", "task.metrics=[f1]"),
    ("method=krona", "task=rte", "seed=0"),
)


def test_every_job_is_what_hydra_makes_of_it() -> None:
    with hydra_session():
        for job in JOBS:
            cfg = compose_by_hydra("config", overrides=list(job), return_hydra_config=True)
            HydraConfig.instance().set_config(cfg)
            OmegaConf.set_struct(cfg, False)
            del cfg["hydra"]
            assert compose_job(job) == replace(build_job(cfg), hydra=None), job  # without Hydra's own settings


@pytest.mark.parametrize(("typed", "seeds"), [([], "01234"), (["seed=7"], "7"), (["seed=range(0,3)"], "012")])
def test_a_typed_value_replaces_the_axis_of_a_sweeps_file(typed: list[str], seeds: str) -> None:
    jobs = compose_all("sweeps=seeds", "method=lora", "optimizer.lr=1e-3", *typed)
    assert [job.config["seed"] for job in jobs] == [*map(int, seeds)]
    assert {job.config["optimizer"]["lr"] for job in jobs} == {1e-3}


def test_hydra_alone_composes_as_the_documentation_shows() -> None:
    page = (PROJECT / "docs" / "coming-from.md").read_text(encoding="utf-8").split("## A config in Python")[1]
    snippet = page.split("```python\n")[1].split("```")[0]
    script = f"{snippet}\nOmegaConf.to_container(cfg, resolve=True)"  # every value, not only the method's
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert OmegaConf.create(done.stdout) == compose("method=krona", "task=rte").config["method"]


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("seed=range(0,3,0)", r"^seed=range\(0,3,0\) .*must not be zero. Write .*range\(START,STOP,STEP\), which"),
        ("method=glob(zzz*)", r"^method=glob\(zzz\*\) has no values, so the sweep has no runs. glob"),
        ("seed=range(0,1e12)", r"exceeds the limit of 10,000 runs"),
        ("optimizer.lr=interval(0,1)", r"^optimizer\.lr=interval\(0,1\) .* such as optimizer\.lr=1,2,3"),
    ],
)
def test_a_sweep_without_runs_or_with_too_many_is_an_error(axis: str, message: str) -> None:
    with pytest.raises(KronaError, match=message):
        compose_all("profile=demo", axis)


def hydra_settings(*overrides: str) -> Any:
    with hydra_session():
        hydra = compose_by_hydra("config", overrides=list(overrides), return_hydra_config=True).hydra
        return OmegaConf.create({"run": {"dir": hydra.run.dir}, "sweep": hydra.sweep, "runtime": {"cwd": "/here"}})


def test_runs_folder() -> None:
    default = hydra_settings()
    assert runs_folder(default, multirun=False) == runs_folder(default, multirun=True) == paths.OUTPUTS
    changed = hydra_settings("hydra.run.dir=one", "hydra.sweep.dir=/many")
    assert runs_folder(changed, multirun=False) == Path("/here/one")
    assert runs_folder(changed, multirun=True) == Path("/many")


SMALL = ["profile=demo", "method=lora", "task=sample_rte"]


def test_the_record_composes_the_same_run() -> None:
    run = compose(*SMALL, "method.rank=2", "seed=3")
    files = run.hydra_files()
    assert yaml.safe_load(files["overrides.yaml"]) == [*SMALL, "method.rank=2", "seed=3"]
    assert check(yaml.safe_load(files["config.yaml"])) == check(run.config)
    assert "hydra.yaml" not in files  # Hydra did not start this one


def test_secrets_are_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "s3cret")
    service = "{_target_: my.Tracker, api_key: '${oc.env:KEY}', parts: [1, '${oc.env:KEY}'], password: s3cret}"
    typed = [r"logger.mlflow.tracking_uri=https\://me\:s3cret@host/", f"+logger.mine={service}"]  # as in a multirun
    with hydra_session():
        job = compose_job([*SMALL, "logger=mlflow", *typed])
    assert job.config["logger"]["mine"]["api_key"] == "s3cret"
    assert job.stored["logger"]["mine"]["api_key"] == "${oc.env:KEY}"
    assert job.stored["logger"]["mine"]["parts"] == [1, "${oc.env:KEY}"]
    assert not any("s3cret" in text for text in [*job.hydra_files().values(), json.dumps(job.stored)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["profile=demo", "++backbone.sizes.vocab_size=10"], "vocab_size=10: .* nano has the sizes of its checkpoint"),
        (["backbone=t5_base", "backbone.sizes.d_model=10"], "d_model=10: .*t5-base has the sizes of its checkpoint"),
    ],
)
def test_the_sizes_of_a_pretrained_backbone_cannot_be_set(words: list[str], message: str) -> None:
    with pytest.raises(KronaError, match=message):
        compose(*words)


@pytest.mark.parametrize(("own", "noted"), [("rank: 2", True), ("name: mine", False)])
def test_a_method_that_keeps_its_parents_name_is_noted(
    own: str, noted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method/mine.yaml").write_text(f"# @package _global_\ndefaults: [lora, _self_]\nmethod:\n  {own}\n")
    monkeypatch.setenv("KRONA_CONF", str(tmp_path))
    notes = compose("profile=demo", "method=mine").notes
    assert any("name: lora" in note for note in notes) == noted


@pytest.mark.parametrize("choice", ["variant: nope", "backbone: t5_bse"])
def test_a_missing_choice_of_an_experiment_is_named(
    choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text(f"# @package _global_\ndefaults:\n  - override /{choice}\n")
    monkeypatch.setenv("KRONA_CONF", str(tmp_path))
    suggested = "did you mean 't5_base'" if "t5" in choice else "choose from comparison/krona"
    with pytest.raises(KronaError, match=rf"{choice.replace(': ', '=')} does not exist.*{suggested}"):
        compose("experiment=mine")
