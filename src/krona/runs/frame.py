"""All results of a folder as one table of pandas: `krona.read_results`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krona import paths
from krona.messages import KronaError, amount
from krona.methods.factor_shapes import shape_name
from krona.runs.forgetting import forgotten
from krona.runs.index import summaries
from krona.runs.result import Result

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "run_id": "string", "status": "string", "method": "string", "task": "string", "backbone": "string",
    "seed": "Int64", "lr": "Float64", "factors": "string", "sweep": "string", "dev": "Float64", "test": "Float64",
    "parameters": "Int64", "percent": "Float64", "epochs": "Int64", "best_epoch": "Int64", "train_s": "Float64",
    "total_s": "Float64", "examples_per_s": "Float64", "host_bytes": "Int64", "device_bytes": "Int64",
    "effective_rank": "Float64", "drift": "Float64", "forgetting": "Float64", "notes": "Int64", "error": "string",
}  # fmt: skip


def read_results(outputs: Path | str | None = None) -> pd.DataFrame:
    """One row for each run in ``outputs``, sorted by run id. What a run does not have (yet) is ``<NA>``.

    ==================================  ============================================================================
    column                              content
    ==================================  ============================================================================
    run_id, status                      the run's folder; ``running``, ``done``, ``failed`` or ``interrupted``
    method, task, seed                  as given on the command line
    backbone                            ``backbone.name``, such as ``google-t5/t5-base``
    lr, factors, sweep                  learning rate; shape of A as used (``32x24``); name of the run's sweep
    dev, test                           scores of the best epoch, 0-100
    parameters, percent                 trainable parameters; in percent of the backbone before insertion
    epochs, best_epoch                  the last epoch that was scored; the one with the best dev choice
    train_s, total_s, examples_per_s    seconds of training; of the whole run; training examples per second
    host_bytes, device_bytes            peak memory
    effective_rank, drift               of the updates, means over the layers; see docs/results-schema.md
    forgetting                          by how much the loss on held-out text rose, where it was measured
    notes, error                        number of notes; why the run failed
    ==================================  ============================================================================

    Args:
        outputs: the folder with the runs; None: ``outputs/``, or KRONA_OUTPUTS.

    Raises:
        KronaError: there is no such folder.

    Warns:
        UserWarning: names the results that are damaged; they have no row.
    """
    import pandas as pd

    folder = Path(outputs if outputs is not None else paths.OUTPUTS).expanduser()
    if not folder.is_dir():
        raise KronaError(f"{folder} is no folder; read_results(FOLDER) reads FOLDER/<run id>/result.json")
    found = summaries(folder)
    damaged = [str(one) for one in found if isinstance(one, KronaError)]
    if damaged:
        warnings.warn("\n  ".join([f"{amount(len(damaged), 'result')} left out:", *damaged]), stacklevel=2)
    rows = [_row(one) for one in found if isinstance(one, Result)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _row(result: Result) -> dict[str, Any]:
    config, times, memory = result.config, result.times, result.peak_memory
    factors = result.provenance.get("branch_config", {}).get("kron_factors") or config["method"].get("kron_factors")
    return {
        "run_id": result.run_id,
        "status": result.status,
        "method": result.method,
        "task": result.task,
        "backbone": config["backbone"]["name"],
        "seed": result.seed,
        "lr": config["optimizer"]["lr"],
        "factors": shape_name(factors[0]) if factors else None,
        "sweep": config.get("sweep"),
        "dev": (result.dev or {}).get("score"),
        "test": (result.test or {}).get("score"),
        "parameters": result.trainable_params,
        "percent": result.trainable_percent,
        "epochs": result.dev_curve[-1]["epoch"] if result.dev_curve else None,
        "best_epoch": result.best_epoch,
        "train_s": times.get("train"),
        "total_s": times.get("total"),
        "examples_per_s": times.get("examples_per_s"),
        "host_bytes": memory.get("host"),
        "device_bytes": memory.get("device"),
        "effective_rank": (result.learned or {}).get("effective_rank"),
        "drift": (result.learned or {}).get("drift"),
        "forgetting": forgotten(result),
        "notes": len(result.notes),
        "error": result.error,
    }
