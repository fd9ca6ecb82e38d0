"""GLUE from the Hub through `datasets`, and a quick, plain answer where it cannot be had.

Without network the library retries for about 25 seconds. One request asks first whether the Hub answers; where it
does not, only the local cache is tried.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from krona.errors import KronaError
from krona.tasks.sources import Part, Reading

PATIENCE = 8.0  # seconds for the one request
PARTS = ("train", "validation", "validation_matched", "validation_mismatched")


def hub_parts(reading: Reading, *, name: str | None, revision: str | None) -> dict[str, Part]:
    """The labelled parts of a GLUE configuration; its test set has no labels and is left alone."""
    task = reading.task
    if task.hub_name is None or name is None:
        raise KronaError(f"task {task.name}: data=hub needs data.name (nyu-mll/glue) and task.hub_name")
    loaded = _load(name, task.hub_name, revision)
    parts = {}
    for part in PARTS:
        if part in loaded:
            origin = f"{name} {task.hub_name} {part}"
            parts[part] = reading.part(part, origin, enumerate(loaded[part]))
    return parts


def _load(name: str, config: str, revision: str | None) -> Any:
    import datasets

    trouble = _unreachable(name)
    try:
        with nullcontext() if trouble is None else _offline(), _bars_on_a_terminal():
            return datasets.load_dataset(name, config, revision=revision)
    except Exception as error:  # the libraries raise a dozen kinds, down to httpx's own
        why = trouble or " ".join(str(error).split()) or type(error).__name__
        raise KronaError(
            f"the data set {name} ({config}{f', revision {revision}' if revision else ''}) could not be had from "
            f"{_endpoint()} and is not in the local cache: {why}. Ways out: profile=demo (sample data, nothing is "
            "downloaded), data=tsv data.path=FOLDER (GLUE's own files), or HF_ENDPOINT=URL of a mirror"
        ) from error


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _unreachable(name: str) -> str | None:
    """Why the Hub does not answer, or None. "Not found" is an answer: the library words it better."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE or os.environ.get("HF_DATASETS_OFFLINE"):
        return "HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set"
    try:
        url = f"{_endpoint()}/datasets/{name}/resolve/main/README.md"  # what the library asks first
        status = get_session().head(url, timeout=PATIENCE).status_code
    except Exception as error:  # whatever the client's transport raises: no route, no name, no proxy, no time
        return " ".join(str(error).split()) or type(error).__name__
    return f"it answers with status {status}" if status >= 500 else None


@contextmanager
def _offline() -> Iterator[None]:
    """`datasets` and `huggingface_hub` look into their caches only; both read their flag at each call."""
    import datasets.config
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


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
