"""Surroundings: the Hub, its caches, and environment variables that change what krona does."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from krona.doctor.line import Line
from krona.messages import amount
from krona.tasks import hub

TIMEOUT_S = 3.0  # seconds for the request to the Hub
NAMES = re.compile(
    r"(WANDB|HF|HUGGINGFACE|TRANSFORMERS|KRONA|MLFLOW|MALLOC)_\w+|(OMP|MKL)_NUM_THREADS|CUDA_VISIBLE_DEVICES"
)
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")
OFF: dict[str, tuple[str, ...]] = {  # what they turn off, where they have one of these values
    "WANDB_MODE": ("offline", "disabled", "dryrun"),
    "WANDB_DISABLED": ("1", "true", "yes"),
    "HF_HUB_OFFLINE": ("1", "true", "yes", "on"),
    "HF_DATASETS_OFFLINE": ("1", "true", "yes", "on"),
    "TRANSFORMERS_OFFLINE": ("1", "true", "yes", "on"),
}


def surroundings(environment: Mapping[str, str]) -> Iterator[Line]:
    """``environment``: this process's own, passed so that a test can give another."""
    yield _hub()
    yield from _variables(environment)


def hub_caches() -> dict[str, Path]:
    """The folders that models and data sets are kept in."""
    from huggingface_hub import constants

    home = Path(constants.HF_HOME)
    return {"model cache": Path(constants.HF_HUB_CACHE), "data cache": _datasets_cache(home)}


def _datasets_cache(home: Path) -> Path:
    """As `datasets` has it, whose import takes seconds."""
    return Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets").expanduser()


def _hub() -> Line:
    models, data = hub_caches().values()
    counts = [
        amount(len(list(models.glob("models--*"))), "model"),
        amount(len(list(data.glob("*/*/"))) if data.is_dir() else 0, "data set"),
    ]
    cached = f"in the caches: {', '.join(counts)}"
    why = hub.unreachable(timeout_s=TIMEOUT_S)
    if why is None:
        return Line("hub", f"{_plain(hub.endpoint())} answers; {cached}")
    ways_out = f"profile=demo, or models and data from folders (docs/errors.md), or {hub.MIRROR}"
    return Line("hub", f"{_plain(hub.endpoint())} can't be reached: {_plain(why)}; {cached}", "note", ways_out)


def _variables(environment: Mapping[str, str]) -> Iterator[Line]:
    """Those that change something; a secret's value is not shown."""
    plain = []
    for name in sorted(name for name in environment if NAMES.fullmatch(name)):
        value = environment[name]
        shown = "set" if SECRET.search(name) else _plain(value)
        if value.lower() in OFF.get(name, ()):
            what = "W&B gets nothing from here" if name.startswith("WANDB") else "only the caches are looked into"
            yield Line("environment", f"{name}={shown}: {what}", "note", f"unset {name}")
        else:
            plain.append(f"{name}={shown}" if shown != "set" else f"{name} is set")
    if plain:
        yield Line("environment", ", ".join(plain))


def _plain(text: str) -> str:
    """Without a name and password in an address."""
    return re.sub(r"//[^/@\s]+@", "//…@", text)
