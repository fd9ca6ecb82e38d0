"""A sweep's jobs share what they choose: each is what Hydra alone makes of it, and none changes another."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from krona.config import compose as composing
from krona.config.compose import Composed, Composer, compose_job, expand, hydra_session, job_from
from krona.messages import KronaError
from krona.paths import PROJECT

JOBS = (
    ("method=krona", "task=rte", "seed=1"),
    ("method=krona", "task=rte", "seed=2", "optimizer.lr=1e-3"),
    ("method=krona", "task=rte", "method.kron_factors=[[2,384]]"),
    ("method=krona", "task=rte", "~optimizer.gradient_clip", "++method.terms=2"),
    ("profile=demo", "method=lora", "seed=1", "trainer.max_epochs=2"),
    ("profile=demo", "seed=2", "method=lora", "task.metrics=[f1]"),
    ("method=krona", "task=rte", "seed=0"),
)


def by_hydra_alone(overrides: tuple[str, ...]) -> Composed:
    cfg = compose("config", overrides=list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return replace(job_from(cfg), hydra=None)  # Hydra's own settings, which a composed job has none of


def test_every_job_is_what_hydra_makes_of_it() -> None:
    with hydra_session():
        one = Composer()
        for job in JOBS:
            assert one.job(job) == by_hydra_alone(job), job


def test_jobs_of_the_same_choices_are_read_from_files_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []

    def counted(name: str, *, overrides: list[str], **kwargs: bool) -> object:
        read.append(overrides)
        return compose(name, overrides=overrides, **kwargs)

    monkeypatch.setattr(composing, "compose", counted)
    with hydra_session():
        one = Composer()
        seeds = [one.job(["method=krona", "task=rte", f"seed={seed}"]).config["seed"] for seed in range(3)]
        one.job(["method=lora", "task=rte"])
    assert seeds == [0, 1, 2]
    assert read == [["method=krona", "task=rte"], ["method=lora", "task=rte"]]


def test_a_key_that_is_no_setting_is_hydras_own_error() -> None:
    with hydra_session(), pytest.raises(ConfigCompositionException, match="Could not override 'batch_sice'"):
        Composer().job(["method=krona", "batch_sice=3"])


def test_hydra_alone_composes_as_the_documentation_shows() -> None:
    page = (PROJECT / "docs" / "coming-from.md").read_text(encoding="utf-8").split("## A config in Python")[1]
    snippet = page.split("```python\n")[1].split("```")[0]
    script = f"{snippet}\nOmegaConf.to_container(cfg, resolve=True)"  # every value, not only the method's
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with hydra_session():
        assert OmegaConf.create(done.stdout) == compose_job(["method=krona", "task=rte"]).config["method"]


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("seed=range(0,3,0)", r"^seed=range\(0,3,0\): .*must not be zero; range\(START,STOP,STEP\) counts"),
        ("method=glob(zzz*)", r"^method=glob\(zzz\*\): this axis has no value, so the sweep has no run: glob"),
        ("seed=glob(*)", r"^seed=glob\(\*\): this axis has no value"),
        ("seed=range(3,0)", r"^seed=range\(3,0\): this axis has no value"),
        ("seed=range(0,1e12)", r"^this sweep would be more than 1,000,000 runs; at most 10,000 at once"),
        (
            "optimizer.lr=interval(0,1)",
            r"^optimizer\.lr=interval\(0,1\): a sweep takes single values: ",
        ),
    ],
)
def test_a_sweep_of_nothing_is_an_error(axis: str, message: str) -> None:
    with hydra_session(), pytest.raises(KronaError, match=message):
        expand(["profile=demo", axis])
