"""Test the settings of launchers, and the messages for wrong settings."""

import importlib.util
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.config_store import ConfigStore

from krona.config.choices import remove_plugin_launchers
from krona.config.compose import hydra_session
from krona.config.multirun import expand
from krona.config.overrides import normalize, translate_errors
from krona.messages import KronaError
from krona.paths import CONF
from krona.sweeps.launchers import slurm
from krona.sweeps.launchers.settings import require
from krona.sweeps.workers import run_sweep

SLURM: dict[str, Any] = yaml.safe_load((CONF / "hydra" / "launcher" / "submitit_slurm.yaml").read_text())


def test_sbatch_gets_no_empty_parameters() -> None:
    asked = slurm.sbatch_parameters({**SLURM, "gpus_per_node": 0})
    assert "gpus_per_node" not in asked
    assert not {"partition", "submitit_folder", "max_num_timeout"} & asked.keys()
    assert (asked["time"], asked["mem"]) == (240, "24GB")
    assert asked["setup"] == ["export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}"]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace SLURM's commands by shell scripts."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(
        slurm.shutil, "which", lambda name: str(tmp_path / name) if (tmp_path / name).exists() else None
    )

    def make(**scripts: str) -> None:
        for name, script in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(stat.S_IRWXU)

    return make


def test_a_machine_without_slurm(commands: Callable[..., None]) -> None:
    commands(squeue="")
    with pytest.raises(KronaError, match=r"sbatch and srun could not be found .* hydra/launcher=submitit_local"):
        slurm.require(SLURM)


def test_a_partition_that_does_not_exist(commands: Callable[..., None]) -> None:
    commands(sbatch="", srun="", squeue="", sinfo="printf 'work\\nurgent\\nwork\\n'")
    slurm.require({**SLURM, "partition": "urgent,work"})
    with pytest.raises(KronaError, match=r"partition=wrok .*did you mean 'work'\? \(choose from work, urgent\)"):
        slurm.require({**SLURM, "partition": "wrok"})


def test_a_queue_without_an_answer_is_not_empty(commands: Callable[..., None]) -> None:
    commands(squeue="echo 12_0; echo 12_1; echo 13")
    assert slurm.queued_jobs() == {"12_0", "12_1", "13"}
    commands(squeue="")
    assert slurm.queued_jobs() == set()
    commands(squeue="echo unable to contact >&2; exit 1")
    assert slurm.queued_jobs() is None


@pytest.mark.parametrize("engine", ["submitit_local", "submitit_slurm"])
def test_a_launcher_that_is_not_installed(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(KronaError, match=rf"launcher={engine} needs submitit, .* pip install -e '\.\[cluster\]'"):
        require(engine, {})


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"n_jobs": "x"}, "hydra.launcher.n_jobs='x' must be"),
        ({"n_jobs": 0}, "hydra.launcher.n_jobs=0: "),
        ({"n_jobs": None}, "hydra.launcher.n_jobs=None must be"),
        ({"timeout_min": "x"}, "hydra.launcher.timeout_min='x' must be"),
    ],
)
def test_a_wrong_setting_is_one_message(typed: dict[str, Any], words: str) -> None:
    with pytest.raises(KronaError) as error:
        require("submitit_local", typed)
    assert str(error.value).startswith(words)


@pytest.mark.parametrize("engine", ["joblib", "submitit_local", "submitit_slurm"])
def test_the_shipped_settings_are_right(engine: str, commands: Callable[..., None]) -> None:
    commands(sbatch="", srun="", squeue="")
    require(engine, yaml.safe_load((CONF / "hydra" / "launcher" / f"{engine}.yaml").read_text()))


def test_an_unknown_launcher_is_one_line() -> None:
    typed = ["profile=demo", "hydra/launcher=jobib"]
    with pytest.raises(KronaError) as caught, translate_errors(typed), hydra_session():
        expand(typed)
    assert re.match(r"hydra/launcher=jobib .*did you mean 'joblib'\?.*submitit_slurm\)$", str(caught.value))


def test_a_launcher_without_a_multirun_is_refused() -> None:
    with pytest.raises(KronaError, match=r"python train\.py -m … hydra/launcher=joblib"):
        normalize(["profile=demo", "hydra/launcher=joblib"])


def test_workers_and_a_launcher_together_are_refused() -> None:
    with pytest.raises(KronaError, match="--workers 2 and hydra/launcher=joblib both choose where"):
        run_sweep(["seed=0,1", "hydra/launcher=joblib"], workers=2)


def test_launchers_of_hydra_plugins_are_replaced(recwarn: pytest.WarningsRecorder) -> None:
    store = ConfigStore.instance()
    store.store(group="hydra/launcher", name="joblib", node={"_target_": "theirs"}, provider="another")
    try:
        with hydra_session():
            jobs = expand(["hydra/launcher=joblib", "hydra.launcher.n_jobs=3", "seed=0,1"])
        assert len(jobs) == 2
        assert not recwarn.list
    finally:
        remove_plugin_launchers()
