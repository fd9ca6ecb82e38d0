"""Read all results of a folder into one pandas table (`krona.read_results`)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krona import paths
from krona.messages import KronaError, amount
from krona.runs.index import summaries
from krona.runs.provenance import used_shape
from krona.runs.result import Result

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {  # the type of each column, and its key in result.json
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


def read_results(outputs: Path | str | None = None) -> pd.DataFrame:
    """Return a table with one row for each run in ``outputs``, sorted by run id. Missing values are ``<NA>``.

    ==================================  ============================================================================
    column                              content
    ==================================  ============================================================================
    run_id, status                      name of the run's folder; ``running``, ``done``, ``failed`` or ``interrupted``
    method, task, seed                  values that the command line set
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
        outputs: the folder with the runs. The default is the environment variable KRONA_OUTPUTS, or ``outputs/``.

    Raises:
        KronaError: the folder does not exist.

    Warns:
        UserWarning: some results are damaged. The warning lists them, and the table has no rows for them.
    """
    import pandas as pd

    folder = paths.expand(outputs if outputs is not None else paths.OUTPUTS)
    if not folder.is_dir():
        raise KronaError(f"{folder} is not a folder. Give the folder that contains the folders of the runs.")
    found = summaries(folder)
    damaged = [str(one) for one in found if isinstance(one, KronaError)]
    if damaged:
        warnings.warn(
            "\n  ".join([f"The table lacks {amount(len(damaged), 'damaged result')}:", *damaged]), stacklevel=2
        )
    rows = [_row(one) for one in found if isinstance(one, Result)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({name: kind for name, (kind, _) in COLUMNS.items()})


def _row(result: Result) -> dict[str, Any]:
    computed = {
        "factors": used_shape(result),
        "epochs": result.dev_curve[-1]["epoch"] if result.dev_curve else None,
        "notes": len(result.notes),
    }
    return {name: _value(result, key) for name, (_, key) in COLUMNS.items() if key} | computed


def _value(result: Result, key: str) -> Any:
    first, *inner = key.split(".")
    value = getattr(result, first)
    for name in inner:
        value = (value or {}).get(name)
    return value
