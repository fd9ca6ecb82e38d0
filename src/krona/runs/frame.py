"""Read all results of a folder, as `Result` objects or as one pandas table (`krona.results`)."""

from __future__ import annotations

import gc
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krona import paths
from krona.messages import KronaError, plural
from krona.runs.description import used_shape
from krona.runs.pack import unpacked_folder
from krona.runs.predictions import DamagedRunError
from krona.runs.result import CHECKSUMS, RESULT, Result, read_result
from krona.runs.run_id import find_value
from krona.runs.sweep import sweeps_by_run

if TYPE_CHECKING:
    import pandas as pd

PROGRESS_BAR_MIN = 2_000  # reading this number of results takes seconds
SHARED = ("config", "splits", "progress")  # fields that are equal in many results, except for the seed
OF_ONE_RUN = (CHECKSUMS, "started", "finished", "load")  # keys of the provenance that differ between all runs
REPORT_KEYS = ("method", "task", "backbone", "data", "optimizer", "trainer", "batch_size")  # reports need these keys
COLUMNS = {  # maps each column to its type and its key in result.json; "": the value is computed
    "run_id": ("string", "run_id"),
    "status": ("string", "status"),
    "method": ("string", "method"),
    "task": ("string", "task"),
    "backbone": ("string", "config.backbone.name"),
    "seed": ("Int64", "seed"),
    "lr": ("Float64", "config.optimizer.lr"),
    "factors": ("string", ""),
    "sweeps": ("string", ""),
    "dev": ("Float64", "dev.score"),
    "test": ("Float64", "test.score"),
    "parameters": ("Int64", "trainable_params"),
    "percent": ("Float64", "trainable_percent"),
    "epochs": ("Int64", ""),
    "best_epoch": ("Int64", "best_epoch"),
    "train_s": ("Float64", "times.train"),
    "total_s": ("Float64", "times.total"),
    "examples_per_s": ("Float64", "times.examples_per_s"),
    "host_bytes": ("Int64", "peak_memory.host"),
    "device_bytes": ("Int64", "peak_memory.device"),
    "notes": ("Int64", ""),
    "error": ("string", "error"),
}


class StoredResult(Result):
    """A result that shares equal parts with other results. Do not change its values."""

    shared: tuple[str, ...] = ()
    """The fields in `SHARED`, without the seed, and the provenance, without `OF_ONE_RUN`, as JSON."""


def read_results(outputs: Path | str | None = None, *, sweep: str | None = None) -> pd.DataFrame:
    """Return a table with one row for each run in ``outputs``, sorted by run id. Missing values are ``<NA>``.

    ==================================  ============================================================================
    column                              content
    ==================================  ============================================================================
    run_id, status                      name of the run's folder; ``running``, ``done``, ``failed`` or ``interrupted``
    method, task, seed                  names of the method and the task; seed of the run
    backbone                            ``backbone.name``, such as ``google-t5/t5-base``
    lr, factors, sweeps                 learning rate; shape of factor A (``32x24``); names of the run's sweeps
    dev, test                           scores of the best epoch on dev and test, 0-100
    parameters, percent                 trainable parameters; their percentage of the backbone's parameters
    epochs, best_epoch                  number of the last scored epoch; number of the epoch that was selected on dev
    train_s, total_s, examples_per_s    seconds of training; seconds of the whole run; training examples per second
    host_bytes, device_bytes            peak memory of the process; peak memory of the device
    notes, error                        number of notes of the run; message of the error that ended the run
    dev_accuracy, test_accuracy, …      the value of each metric on dev and test
    ==================================  ============================================================================

    Args:
        outputs: the folder with the runs, or a file of `krona pack`. The default is the environment variable
            KRONA_OUTPUTS, or ``outputs/``.
        sweep: the name of a sweep. Only its runs are returned, including runs that another sweep started.

    Raises:
        KronaError: the folder does not exist, or no run belongs to the sweep.

    Warns:
        UserWarning: some results are damaged. The warning lists them, and the table has no rows for them.
    """
    folder = unpacked_folder(paths.expand(outputs if outputs is not None else paths.OUTPUTS))
    if not folder.is_dir():
        raise KronaError(f"{folder} is not a folder. Give the folder that contains the folders of the runs.")
    results = stored_results(folder)
    damaged = [str(result) for result in results if isinstance(result, KronaError)]
    if damaged:
        warnings.warn(
            "\n  ".join([f"The table lacks {plural(len(damaged), 'damaged result')}:", *damaged]), stacklevel=2
        )
    import pandas as pd

    sweeps, rows = sweeps_by_run(folder), []
    for result in results:
        if isinstance(result, Result):
            names = {*sweeps.get(result.run_id, ()), *filter(None, [result.config.get("sweep")])}
            if sweep is None or sweep in names:
                row = {name: _value(result, name) for name in COLUMNS if name != "sweeps"}
                row["sweeps"] = ", ".join(sorted(names)) or None
                for split in ("dev", "test"):
                    parts = getattr(result, split)["parts"] if getattr(result, split) else {}
                    row |= {f"{split}_{metric}": value for metric, value in parts.items()}
                rows.append(row)
    if sweep is not None and not rows:
        raise KronaError(f"No run under {folder} belongs to a sweep {sweep}.")
    metrics = sorted({name for row in rows for name in row} - {*COLUMNS})
    types = {name: kind for name, (kind, _) in COLUMNS.items()} | dict.fromkeys(metrics, "Float64")
    return pd.DataFrame(rows, columns=[*types]).astype(types)


def _value(result: Result, name: str) -> Any:
    if name == "factors":
        return used_shape(result)
    if name == "notes":
        return len(result.notes)
    if name == "epochs":
        return result.dev_curve[-1]["epoch"] if result.dev_curve else None
    field, _, key = COLUMNS[name][1].partition(".")
    value = getattr(result, field)
    return find_value(value, key) if key else value


def stored_results(outputs: Path) -> list[StoredResult | DamagedRunError]:
    """Return the results of all ``<run id>/result.json`` under ``outputs``, sorted by run id.

    If a result cannot be read, the list contains an error instead.

    Raises:
        KronaError: the folder cannot be read.
    """
    if not outputs.is_dir():
        return []
    try:
        names = sorted(os.listdir(outputs))
    except OSError as error:
        raise KronaError(f"{outputs} cannot be read: {error.strerror or error}") from error
    parts: dict[str, Any] = {}  # maps JSON texts to objects, so that results share equal parts
    with _without_garbage_collection():
        results = [_read(outputs / name / RESULT, parts) for name in _with_progress(names)]
    return [result for result in results if result is not None]


def _read(path: Path, parts: dict[str, Any]) -> StoredResult | DamagedRunError | None:
    """Return the result in a file, the error if it cannot be read, or None if the file does not exist (any more)."""
    try:
        result = read_result(path)
        if lacking := [key for key in REPORT_KEYS if result.config.get(key) is None]:
            raise KronaError(f"{path} is not a result. Its config lacks {', '.join(lacking)}.")
    except KronaError as error:
        missing = isinstance(error.__cause__, FileNotFoundError | NotADirectoryError)
        return None if missing else DamagedRunError(str(error), path.parent.name)
    stored = StoredResult.model_construct(**dict(result))
    texts = [json.dumps(_without(result.provenance, *OF_ONE_RUN))]
    for name in SHARED:
        part = _without(getattr(result, name), "seed")
        texts.append(json.dumps(part))
        setattr(stored, name, parts.setdefault(texts[-1], part))
    stored.config = {**stored.config, "seed": stored.seed}
    stored.shared = tuple(map(sys.intern, texts))
    return stored


def _without(part: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key not in keys}


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable the garbage collector, which would repeatedly check millions of objects that are all in use."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _with_progress(names: list[str]) -> Iterable[str]:
    """Return the names. If there are many names, iterating over them shows a progress bar on a terminal."""
    if len(names) < PROGRESS_BAR_MIN or not sys.stderr.isatty():
        return names
    from rich.console import Console
    from rich.progress import track

    return track(names, "reading results", console=Console(stderr=True), transient=True)
