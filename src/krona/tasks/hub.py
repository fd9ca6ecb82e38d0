"""GLUE from the Hub through `datasets`, with a quick and plain error if it can't be loaded (`krona.hub`)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from krona import hub
from krona.messages import KronaError
from krona.tasks.rows import Reading, Split

PARTS = ("train", "validation", "validation_matched", "validation_mismatched")


def hub_parts(reading: Reading, *, name: str | None, revision: str | None) -> dict[str, Split]:
    """The labelled parts of a GLUE configuration; its test set has no labels and is left alone."""
    task = reading.task
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
        with hub.offline(), _bars_on_a_terminal():
            datasets.load_dataset_builder(name, config, revision=revision)
    except Exception:  # the libraries raise a dozen kinds: not in the cache
        return False
    return True


def _load(name: str, config: str, revision: str | None) -> Any:
    import datasets

    trouble = hub.unreachable(f"datasets/{name}/resolve/main/README.md")  # what the library asks first
    try:
        with nullcontext() if trouble is None else hub.offline(), _bars_on_a_terminal():
            return datasets.load_dataset(name, config, revision=revision)
    except Exception as error:  # the libraries raise a dozen kinds, down to httpx's own
        why = trouble or " ".join(str(error).split()) or type(error).__name__
        raise KronaError(
            f"the data set {name} ({config}{f', revision {revision}' if revision else ''}) could not be had from "
            f"{hub.endpoint()} and is not in the local cache: {why}. Ways out: profile=demo (sample data, nothing is "
            f"downloaded), data=tsv data.path=FOLDER (GLUE's own files), or {hub.MIRROR}"
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
