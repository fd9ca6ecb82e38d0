"""Read all results of a folder, as summaries or as one pandas table (`krona.results`).

Summaries are cached in a Parquet file in `outputs/.index`, with one row for each run. A row is used only if the run's
result.json still has the same modification time and size. The cache can be deleted at any time.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krona import paths
from krona.messages import KronaError, amount
from krona.runs import file_names
from krona.runs.pack import runs_folder
from krona.runs.predictions import DamagedRunError
from krona.runs.provenance import used_shape
from krona.runs.result import CHECKSUMS, Result, read_result
from krona.runs.run_id import find_value
from krona.safe_files import write_whole

if TYPE_CHECKING:
    import pandas as pd

CACHE = ".index/results.parquet"
VERSION = b"7"
MIN_NEW = 100  # the cache is written only if there are at least this many new summaries
SETTLED_S = 2.0  # seconds; a file that changed more recently may change again without a new modification time
PROGRESS_BAR_MIN = 2_000  # reading this number of results takes seconds
SHARED = ("config", "splits", "progress", "provenance")  # fields that are equal in many results, except for the seed
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
    "sweep": ("string", "config.sweep"),
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
    "effective_rank": ("Float64", "learned.effective_rank"),
    "drift": ("Float64", "learned.drift"),
    "notes": ("Int64", ""),
    "error": ("string", "error"),
}


class Summary(Result):
    """A result without the fields that `strip_result` removes."""

    shared: tuple[str, ...] = ()
    """The values of the fields in `SHARED` as JSON, without the seed."""


def read_results(outputs: Path | str | None = None) -> pd.DataFrame:
    """Return a table with one row for each run in ``outputs``, sorted by run id. Missing values are ``<NA>``.

    ==================================  ============================================================================
    column                              content
    ==================================  ============================================================================
    run_id, status                      name of the run's folder; ``running``, ``done``, ``failed`` or ``interrupted``
    method, task, seed                  names of the method and the task; seed of the run
    backbone                            ``backbone.name``, such as ``google-t5/t5-base``
    lr, factors, sweep                  learning rate; shape of factor A (``32x24``); name of the run's sweep
    dev, test                           scores of the best epoch on dev and test, 0-100
    parameters, percent                 trainable parameters; their percentage of the backbone's parameters
    epochs, best_epoch                  number of the last scored epoch; number of the epoch that was selected on dev
    train_s, total_s, examples_per_s    seconds of training; seconds of the whole run; training examples per second
    host_bytes, device_bytes            peak memory of the process; peak memory of the device
    effective_rank, drift               means over the adapted layers; docs/results-schema.md defines them
    notes, error                        number of notes of the run; message of the error that ended the run
    ==================================  ============================================================================

    Args:
        outputs: the folder with the runs, or a file of `krona pack`. The default is the environment variable
            KRONA_OUTPUTS, or ``outputs/``.

    Raises:
        KronaError: the folder does not exist.

    Warns:
        UserWarning: some results are damaged. The warning lists them, and the table has no rows for them.
    """
    folder = runs_folder(paths.expand(outputs if outputs is not None else paths.OUTPUTS))
    if not folder.is_dir():
        raise KronaError(f"{folder} is not a folder. Give the folder that contains the folders of the runs.")
    found = summaries(folder)
    damaged = [str(one) for one in found if isinstance(one, KronaError)]
    if damaged:
        warnings.warn(
            "\n  ".join([f"The table lacks {amount(len(damaged), 'damaged result')}:", *damaged]), stacklevel=2
        )
    import pandas as pd

    rows = [column_values(one) for one in found if isinstance(one, Result)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({name: kind for name, (kind, _) in COLUMNS.items()})


def column_values(result: Result) -> dict[str, Any]:
    """Return the values of a result by column name (`COLUMNS`)."""
    return {name: _value(result, name) for name in COLUMNS}


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


def summaries(outputs: Path) -> list[Summary | DamagedRunError]:
    """Return the summaries of all ``<run id>/result.json`` under ``outputs``, sorted by run id.

    If a result cannot be read, the list contains an error instead of the summary. The summaries share objects, so they
    must not be changed.
    """
    if not outputs.is_dir():
        return []
    with _without_garbage_collection():
        files = _list_results(outputs)
        parts: dict[str, Any] = {}  # maps JSON texts to objects, so that summaries share equal parts
        cached = _read_cache(outputs / CACHE, files, parts)
        found: dict[str, Summary | DamagedRunError] = {**cached}
        now, known = time.time(), len(cached)
        try:
            for name in _with_progress(sorted(files.keys() - cached.keys())):
                found[name] = item = _read(outputs / name / file_names.RESULT, parts)
                settled = now - files[name][0] / 1e9 > SETTLED_S
                if isinstance(item, Summary) and settled and item.status != "running":
                    cached[name] = item
        finally:  # an interrupted command also caches the summaries that it has read
            if len(cached) - known >= MIN_NEW:
                _write_cache(outputs / CACHE, files, cached)
        return [found[name] for name in sorted(files)]


def strip_result(result: Result) -> Summary:
    """Return the summary of a result.

    The summary contains only the last epoch. The scores of single metrics, the checksums, the start and end times, and
    the measurements of layers are omitted.
    """

    def without(part: Mapping[str, Any] | None, *keys: str) -> Any:
        return part and {name: value for name, value in part.items() if name not in keys}

    rows = [without(row, "parts", "choice", "loss", "lr", "examples_per_s") for row in result.dev_curve[-1:]]
    kept = {
        "dev": without(result.dev, "parts"),
        "test": without(result.test, "parts"),
        "provenance": without(result.provenance, CHECKSUMS, "started", "finished"),
        "learned": without(result.learned, "by_place"),
        "dev_curve": rows,
    }
    values = {**dict(result), **kept}
    values["shared"] = tuple(sys.intern(json.dumps(_without_seed(values[name]))) for name in SHARED)
    return Summary.model_construct(**values)


def _without_seed(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "seed"}


def _read(path: Path, parts: dict[str, Any]) -> Summary | DamagedRunError:
    try:
        result = read_result(path)
        if lacking := [key for key in REPORT_KEYS if result.config.get(key) is None]:
            raise KronaError(f"{path} is not a result. Its config lacks {', '.join(lacking)}.")
    except KronaError as error:
        return DamagedRunError(str(error), path.parent.name)
    summary = strip_result(result)
    for name, text in zip(SHARED, summary.shared, strict=True):
        setattr(summary, name, parts.setdefault(text, _without_seed(getattr(summary, name))))
    summary.config = {**summary.config, "seed": summary.seed}
    return summary


def _list_results(outputs: Path) -> dict[str, tuple[int, int]]:
    """Return the modification time (ns) and size of each result.json by run id, or (0, 0) if they are unknown."""
    found = {}
    try:
        with os.scandir(outputs) as folders:
            for folder in folders:
                try:
                    stat = os.stat(f"{folder.path}/{file_names.RESULT}")
                    found[folder.name] = (stat.st_mtime_ns, stat.st_size)
                except (FileNotFoundError, NotADirectoryError):  # the folder has no result.json
                    continue
                except OSError:  # `_read` returns the error
                    found[folder.name] = (0, 0)
    except OSError as error:
        raise KronaError(f"{outputs} cannot be read: {error.strerror or error}") from error
    return found


def _read_cache(path: Path, files: dict[str, tuple[int, int]], parts: dict[str, Any]) -> dict[str, Summary]:
    """Return the valid summaries in the cache, by run id."""
    if not path.is_file():  # the import of pyarrow takes 0.1 s
        return {}
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        if (table.schema.metadata or {}).get(b"krona") != VERSION:
            return {}
        columns, texts = {}, {}
        for name in Result.model_fields:
            column = table[name].unify_dictionaries().combine_chunks()
            distinct, places = column.dictionary.to_pylist(), column.indices.to_pylist()
            values = [parts.setdefault(text, json.loads(text)) for text in distinct]
            columns[name], texts[name] = [values[i] for i in places], [distinct[i] for i in places]
        columns["shared"] = [*zip(*(texts[name] for name in SHARED), strict=True)]
        stats = zip(table["mtime_ns"].to_pylist(), table["size"].to_pylist(), strict=True)
        found = {}
        for stat, *row in zip(stats, *columns.values(), strict=True):
            one = dict(zip(columns, row, strict=True))
            if files.get(one["run_id"]) == stat:
                one["config"] = {**one["config"], "seed": one["seed"]}
                found[one["run_id"]] = Summary.model_construct(**one)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pyarrow.ArrowException):
        return {}
    return found


def _write_cache(path: Path, files: dict[str, tuple[int, int]], results: dict[str, Summary]) -> None:
    """Write the cache. Do nothing if the folder is read-only, or if the disk is full."""
    import pyarrow.parquet

    columns: dict[str, Any] = {}
    shared = zip(*(one.shared for one in results.values()), strict=True)
    texts = dict(zip(SHARED, shared, strict=True))
    for name in Result.model_fields:  # most runs have many equal parts, which a dictionary stores once
        values = texts.get(name) or [json.dumps(getattr(one, name)) for one in results.values()]
        columns[name] = pyarrow.array(values, pyarrow.string()).dictionary_encode()
    columns["mtime_ns"], columns["size"] = zip(*(files[name] for name in results), strict=True)
    table = pyarrow.table(columns).replace_schema_metadata({"krona": VERSION})
    with suppress(OSError, KronaError):
        path.parent.mkdir(exist_ok=True)
        write_whole(path, lambda part: pyarrow.parquet.write_table(table, part))


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
