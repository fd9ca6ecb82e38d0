"""A sweep is a list of runs, not a process: what it consists of, and how far each run is."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from krona import check, ownership
from krona.compose import CONF, PROJECT, Composed, put_aside_other_launchers
from krona.errors import KronaError
from krona.index import summaries
from krona.jobs import identify
from krona.names import did_you_mean
from krona.results import Result, read_result, write_whole
from krona.sweeping.composer import Composer
from krona.typed import prepared

State = Literal["done", "running", "interrupted", "failed", "waiting", "wrong"]
OPEN: tuple[State, ...] = ("waiting", "running", "interrupted")  # not at their end yet
MANY = 10_000  # a sweep of more runs is most likely a slip


@dataclass(frozen=True)
class Planned:
    """One run of a sweep and how far it is."""

    overrides: tuple[str, ...]
    run_id: str
    state: State
    result: Result | None = None
    error: str | None = None
    config: dict[str, Any] | None = None  # None where it could not be composed, and of a run that no sweep names


@contextmanager
def hydra_session() -> Iterator[None]:
    """Hydra outside ``@hydra.main``: conf/ to compose from, and whatever was set before put back."""
    before, config_before = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    put_aside_other_launchers()
    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().clear()
        GlobalHydra.instance().hydra = before
        HydraConfig.instance().cfg = config_before


def compose_job(overrides: Sequence[str]) -> Composed:
    """One job's plain values; inside `hydra_session`."""
    return Composer().job(overrides)


def jobs_of(params: Mapping[str, Any], overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """The jobs of a multirun, as Hydra's own sweeper makes them: a sweep's axes, and what is typed over them."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    lines = [f"{key}={value}" for key, value in params.items()] + list(overrides)
    (batch,) = BasicSweeper.split_arguments(parser.parse_overrides(lines), None)
    if len(batch) > MANY:
        raise KronaError(f"this sweep would be {len(batch):,} runs; at most {MANY:,} at once: narrow an axis")
    return [tuple(job) for job in batch]


def expand(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """The jobs of ``python train.py -m OVERRIDES``; inside `hydra_session`."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    plain = [o.input_line for o in parser.parse_overrides(list(overrides)) if not o.is_sweep_override()]
    cfg = compose("config", overrides=[line for line in plain if line], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    params = OmegaConf.to_container(cfg.hydra.sweeper.params, resolve=True) if cfg.hydra.sweeper.params else {}
    assert isinstance(params, dict)
    return jobs_of({str(key): value for key, value in params.items()}, overrides)


def plan(overrides: Sequence[str], *, outputs: Path) -> list[Planned]:
    """All runs of a sweep with their state. Raises KronaError for a sweep of absurd size."""
    with hydra_session():
        composer = Composer()
        return [_planned(job, outputs, composer) for job in expand(prepared(["-m", *overrides])[1:])]


def made_before(jobs: Sequence[tuple[str, ...]], sweep: str, *, outputs: Path) -> list[str]:
    """The ids of those runs of a sweep that something else made; inside Hydra. They are a part of it from its start."""
    results = (one for one in summaries(outputs) if isinstance(one, Result))
    others = {one.run_id for one in results if one.config.get("sweep") != sweep}
    if not others:
        return []
    composer, found = Composer(), []
    for job in jobs:
        with suppress(KronaError, HydraException, OmegaConfBaseException):  # is said when it is the job's turn
            found.append(identify(check.settings(composer.job(job).config)))
    return [run_id for run_id in found if run_id in others]


def _planned(job: tuple[str, ...], outputs: Path, composer: Composer) -> Planned:
    config: dict[str, Any] | None = None
    try:
        config = composer.job(job).config
        run_id = identify(check.settings(config))
    except KronaError as error:
        return Planned(job, " ".join(job), "wrong", error=str(error), config=config)
    return Planned(job, run_id, *state_of(outputs / run_id), config=config)


def state_of(folder: Path) -> tuple[State, Result | None, str | None]:
    """How far a run is, from its folder alone."""
    path = folder / "result.json"
    if not path.is_file():
        return ("running" if ownership.owner(folder) else "waiting"), None, None
    try:
        result = read_result(path)
    except KronaError as error:
        return "failed", None, str(error)
    if result.status == "done":
        return "done", result, None
    if ownership.owner(folder) is not None:
        return "running", result, None
    return ("failed" if result.status == "failed" else "interrupted"), result, result.error


def of_table(number: int, overrides: Sequence[str]) -> list[str]:
    """The sweep of a table of the paper; with profile=demo it runs on the sample tasks, where no task was typed."""
    name, there = f"table{number}", sorted(path.stem for path in (PROJECT / "sweeps").glob("table*.yaml"))
    if name not in there:
        tables = ", ".join(sweep.removeprefix("table") for sweep in there)
        raise KronaError(f"table {number} can't be run: sweeps/ has the tables {tables}")
    typed = [f"sweeps={name}", *overrides]
    if "profile=demo" not in typed or any(item.lstrip("+").startswith("task=") for item in typed):
        return typed
    with hydra_session():
        cfg = compose("config", overrides=typed[:1], return_hydra_config=True)
        tasks = str(cfg.hydra.sweeper.params.task).split(",")
    return [*typed, "task=" + ",".join(f"sample_{task.strip()}" for task in tasks)]


def remember(folder: Path, sweep: str, overrides: Sequence[str]) -> None:
    """Keep the command of a sweep, for `krona status SWEEP`."""
    text = json.dumps({"sweep": sweep, "overrides": list(overrides)}) + "\n"
    write_whole(folder / f"{sweep}.json", lambda part: part.write_text(text, encoding="utf-8"))


def remembered(folder: Path, sweep: str) -> list[str]:
    """The command that a sweep was started with last. Raises KronaError where none is known or its file is damaged."""
    path = folder / f"{sweep}.json"
    if not path.is_file():
        there = sorted(p.stem for p in folder.glob("*.json"))
        raise KronaError(f"no sweep {sweep!r} was started here; {did_you_mean(sweep, there)}")
    try:
        overrides = json.loads(path.read_text(encoding="utf-8"))["overrides"]
        if not isinstance(overrides, list):
            raise TypeError(f"overrides is {overrides!r}, no list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise KronaError(
            f"{path} does not hold a sweep's command ({why}): the command itself, typed again, writes it anew "
            "and passes over what is done"
        ) from error
    return [str(item) for item in overrides]
