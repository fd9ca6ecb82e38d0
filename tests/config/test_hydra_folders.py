"""Hydra's own settings of folders, and the record of a run's config."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose
from omegaconf import OmegaConf

from krona.config import check
from krona.config.compose import Composed, compose_job, hydra_session
from krona.config.hydra_folders import outputs_of, record, refuse_rerun
from krona.jobs.job import JobSpec, claimed
from krona.messages import KronaError
from krona.paths import OUTPUTS
from krona.runs.result import Result, write_result
from krona.training.ranks import Ranks

SMALL = ["profile=demo", "method=lora", "task=sample_rte"]


def hydras(*overrides: str) -> Any:
    with hydra_session():
        hydra = compose("config", overrides=list(overrides), return_hydra_config=True).hydra
        return OmegaConf.create({"run": {"dir": hydra.run.dir}, "sweep": hydra.sweep, "runtime": {"cwd": "/here"}})


def composed(*overrides: str) -> Composed:
    with hydra_session():
        return compose_job([*SMALL, *overrides])


def test_where_the_runs_are() -> None:
    own = hydras()
    assert outputs_of(own, multirun=False) == outputs_of(own, multirun=True) == OUTPUTS
    typed = hydras("hydra.run.dir=one", "hydra.sweep.dir=/many")
    assert outputs_of(typed, multirun=False) == Path("/here/one")
    assert outputs_of(typed, multirun=True) == Path("/many")
    with pytest.raises(KronaError, match=r"hydra\.sweep\.subdir=a: a run's folder is named after its settings"):
        outputs_of(hydras("hydra.sweep.subdir=a"), multirun=True)


def test_the_record_composes_the_same_run() -> None:
    run = composed("method.rank=2", "seed=3")
    files = record(run)
    assert yaml.safe_load(files["overrides.yaml"]) == [*SMALL, "method.rank=2", "seed=3"]
    again = yaml.safe_load(files["config.yaml"])
    assert check.settings(again) == check.settings(run.config)
    assert "hydra.yaml" not in files  # Hydra did not start this one


def test_a_record_is_written_once(tmp_path: Path) -> None:
    def begun(config: dict[str, Any], **record: str) -> dict[str, str]:
        spec = JobSpec(config=config, outputs=tmp_path, record=record)
        with claimed(spec, Ranks()):
            result = Result(spec.run_id, "running", method="lora", task="sample_rte", seed=0, config=config)
            write_result(spec.folder, result)
            spec.write_record()
        return {file.name: file.read_text() for file in (spec.folder / ".hydra").iterdir()}

    config = composed().config
    assert begun(config, a="1", b="2") == {"a": "1", "b": "2"}
    assert begun(config, a="3", b="4") == {"a": "1", "b": "2"}  # it resumes
    assert begun({**config, "overwrite": True}, a="5", b="6") == {"a": "5", "b": "6"}


def test_a_rerun_is_told_the_command(tmp_path: Path) -> None:
    (tmp_path / "overrides.yaml").write_text("- method=lora\n- method.kron_factors=[[2,3]]\n")
    for typed in (["--experimental-rerun", f"{tmp_path}/config.pickle"], [f"--experimental-rerun={tmp_path}/x.pickle"]):
        with pytest.raises(KronaError) as caught:
            refuse_rerun([*typed, "seed=1"])
        assert "a pickle, which can run code" in str(caught.value)
        assert str(caught.value).endswith("python train.py method=lora 'method.kron_factors=[[2,3]]' seed=1")
    with pytest.raises(KronaError, match=r"its overrides are in RUN/\.hydra/overrides\.yaml"):
        refuse_rerun(["--experimental-rerun", "nowhere/config.pickle"])
    refuse_rerun(["method=lora"])
