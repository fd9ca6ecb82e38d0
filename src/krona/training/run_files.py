"""Write the files of a run: metrics, predictions, adapter and result. Each file is written atomically."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from krona import surgery
from krona.adapters.adapter import Adapter
from krona.adapters.fingerprint import Fingerprint
from krona.adapters.origin import Origin
from krona.config.settings import RunSettings
from krona.messages import KronaError
from krona.runs.claim import Claim
from krona.runs.folder import RunFolder
from krona.runs.predictions import label_words
from krona.runs.result import CHECKSUMS, Result, write_result
from krona.safe_files import Write, json_lines, write_text
from krona.tasks import Split
from krona.training.devices import Ranks

Predictions = tuple[Split, list[str], list[list[float]] | None]
KEPT_BYTES = 500_000_000  # keep=auto saves the weights of full fine-tuning if they take fewer bytes


def find_checkpoint(run: RunFolder, ranks: Ranks) -> Path | None:
    """Return the path of the last epoch's checkpoint, or None if it does not exist.

    Raises:
        KronaError: only some ranks can see the checkpoint.
    """
    can_see = ranks.gather(run.checkpoint.is_file())
    if len(set(can_see)) > 1:
        raise KronaError(
            f"Only {sum(can_see)} of the {len(can_see)} processes of this run can see {run.checkpoint}. Put outputs/ "
            "on a file system that all nodes share."
        )
    return run.checkpoint if can_see[0] else None


def write_epoch(run: RunFolder, claim: Claim, result: Result) -> None:
    """Write metrics.csv and result.json with the epochs so far."""
    write_metrics(run.metrics, result.dev_curve, claim.write)
    write_result(run.path, result, claim.write)


def write_end(
    run: RunFolder,
    claim: Claim,
    settings: RunSettings,
    result: Result,
    model: nn.Module,
    predictions: Mapping[str, Predictions],
    *,
    backbone: Fingerprint | None,
) -> None:
    """Write the metrics, the predictions, the adapter and finally the result.

    ``predictions`` maps the name of each split to its rows, its predicted texts, and their probabilities.
    """
    write = claim.write
    write_metrics(run.metrics, result.dev_curve, write)  # the file of a killed run may lack the last epoch
    write_predictions(run.predictions, predictions, write, labels=list(label_words(result.config["task"]).values()))
    if surgery.trainable_state(model) and keeps_weights(settings, weight_bytes(model)):
        adapter = Adapter.of(model, notes=Origin.of_result(result).as_note(), backbone=backbone)
        adapter.save(run.adapter, write=write)
    result.provenance[CHECKSUMS] = run.checksums()
    result.progress = {}  # kept until now, so that the result of an interrupted run contains the progress
    write_result(run.path, result, write)
    claim.remove(run.checkpoint)


def weight_bytes(model: nn.Module) -> int:
    """Return the size of the trained parameters in bytes."""
    return sum(tensor.nbytes for tensor in surgery.trainable_state(model).values())


def keeps_weights(settings: RunSettings, size: int) -> bool:
    """Return whether a run saves its trained parameters. ``size`` is their size in bytes."""
    if settings.keep == "all" or not settings.method.placement.get("train_backbone"):
        return True
    return settings.keep == "auto" and settings.score_test and size < KEPT_BYTES


def write_metrics(file: Path, curve: Sequence[Mapping[str, Any]], write: Write) -> None:
    """Write the dev curve as CSV, with one row per epoch."""
    rows = [{**{key: row[key] for key in row if key != "parts"}, **row["parts"]} for row in curve]

    def fill(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as opened:
            table = csv.DictWriter(opened, list(dict.fromkeys(key for row in rows for key in row)))
            table.writeheader()
            table.writerows(rows)

    write(file, fill)


def write_predictions(
    file: Path, predictions: Mapping[str, Predictions], write: Write, *, labels: Sequence[str] = ()
) -> None:
    """Write the id, source, target and prediction of each row of the splits, as JSON lines.

    If the task has groups, also write the number of each row's group. If the probabilities of the ``labels`` are known,
    also write them, with null for a probability that is not a number. For a user's own files, also write the line and
    the values of the unused columns.
    """
    write_text(file, json_lines(_prediction_rows(predictions, labels)), write)


def _prediction_rows(predictions: Mapping[str, Predictions], labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    for name, (split, texts, scores) in predictions.items():
        columns: dict[str, Sequence[Any]] = {
            "id": split.ids,
            "source": split.sources,
            "target": split.targets,
            "prediction": texts,
        }
        if split.groups is not None:
            columns["group"] = [*map(str, split.groups)]
        if scores is not None:
            known = [[None if math.isnan(value) else value for value in row] for row in scores]
            columns["scores"] = [dict(zip(labels, row, strict=True)) for row in known]
        for values in zip(*columns.values(), strict=True):
            row = {"split": name, **dict(zip(columns, values, strict=True))}
            yield {**row, **split.others.get(row["id"], {})}
