"""The Hugging Face Hub: whether it can be reached, its local cache, and GLUE from it through `datasets`.

Without a network the libraries retry for about half a minute. So one request first asks whether the Hub answers; if it
does not, only the local caches are tried.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.tasks.rows import Reading, Split

TIMEOUT_S = 8.0  # seconds for the one request
MIRROR = "HF_ENDPOINT=URL of a mirror"
PARTS = ("train", "validation", "validation_matched", "validation_mismatched")


def endpoint() -> str:
    """The Hub's address, or its mirror's."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def unreachable(path: str = "", *, timeout_s: float = TIMEOUT_S) -> str | None:
    """Why the Hub does not answer, or None. "Not found" counts as an answer: the libraries explain it better."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE or os.environ.get("HF_DATASETS_OFFLINE"):
        return "HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set"
    try:
        status = get_session().head(f"{endpoint()}/{path}", timeout=timeout_s).status_code
    except Exception as error:  # the client's transport raises many kinds
        return " ".join(str(error).split()) or type(error).__name__
    return f"it answers with status {status}" if status >= 500 else None


@contextmanager
def offline() -> Iterator[None]:
    """Let the libraries look only into their caches; they read their flag at each call."""
    from huggingface_hub import constants

    datasets = sys.modules.get("datasets")  # its import takes a second, and a model does not need it
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    if datasets is not None:
        datasets_before, shown = datasets.config.HF_HUB_OFFLINE, datasets.logging.get_verbosity()
        datasets.config.HF_HUB_OFFLINE = True
        datasets.logging.set_verbosity_error()  # it warns at each use of its cache
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        if datasets is not None:
            datasets.config.HF_HUB_OFFLINE = datasets_before
            datasets.logging.set_verbosity(shown)


def model_is_cached(repository: str) -> bool:
    """Whether the Hub's cache holds weights of the model ``repository``."""
    from huggingface_hub import constants

    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return any(any(snapshots.glob(f"*/{name}")) for name in ("*.safetensors", "*.bin"))


def download_error(what: str, error: Exception, ways_out: str) -> KronaError:
    """A loading error in one line."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return KronaError(f"{what} can't be loaded: {first[:300]}. Ways out: {ways_out}")


def hub_parts(reading: Reading) -> dict[str, Split]:
    """The labelled parts of a GLUE configuration; its test set has no labels and is left alone."""
    task, name, revision = reading.task, reading.data.name, reading.data.revision
    if task.hub_name is None or name is None:
        raise KronaError(f"task {task.name}: data=hub needs data.name (nyu-mll/glue) and task.hub_name")
    loaded = _load(name, task.hub_name, revision)
    return {
        part: reading.part(part, f"{name} {task.hub_name} {part}", enumerate(loaded[part]))
        for part in PARTS
        if part in loaded
    }


def is_cached(name: str, config: str, revision: str | None) -> bool:
    """Whether a configuration can be read without the Hub."""
    import datasets

    try:
        with offline(), _bars_on_a_terminal():
            datasets.load_dataset_builder(name, config, revision=revision)
    except Exception:  # the libraries raise a dozen kinds: not in the cache
        return False
    return True


def _load(name: str, config: str, revision: str | None) -> Any:
    import datasets

    trouble = unreachable(f"datasets/{name}/resolve/main/README.md")  # what the library asks first
    try:
        with nullcontext() if trouble is None else offline(), _bars_on_a_terminal():
            return datasets.load_dataset(name, config, revision=revision)
    except Exception as error:  # the libraries raise a dozen kinds, down to httpx's own
        why = trouble or " ".join(str(error).split()) or type(error).__name__
        raise KronaError(
            f"the data set {name} ({config}{f', revision {revision}' if revision else ''}) could not be had from "
            f"{endpoint()} and is not in the local cache: {why}. Ways out: profile=demo (sample data, nothing is "
            f"downloaded), data=tsv data.path=FOLDER (GLUE's own files), or {MIRROR}"
        ) from error


@contextmanager
def _bars_on_a_terminal() -> Iterator[None]:
    """The library's progress bars are for a terminal; in a log they are hundreds of lines."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
