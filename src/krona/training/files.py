"""Files of a run (metrics, predictions, adapter, result, checkpoints), each written whole or not at all."""

import csv
import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from krona import surgery
from krona.adapters.adapter import Adapter
from krona.adapters.fingerprint import Fingerprint
from krona.adapters.origin import Origin
from krona.config.settings import Run
from krona.files import Write, write_whole
from krona.messages import KronaError
from krona.runs.claim import Claim
from krona.runs.folder import CHECKSUMS, RunFolder
from krona.runs.result import Result, outcomes
from krona.tasks import Split
from krona.training.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """The files of a run, which only the first of its ranks writes: the one with the claim."""

    folder: Path
    claim: Claim | None
    ranks: Ranks

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.folder)

    def checkpoint(self) -> Path | None:
        """Return the last epoch's checkpoint, if there is one: on every rank, or on none."""
        path = self.run.checkpoint
        there = self.ranks.gather(path.is_file())
        if len(set(there)) > 1:
            raise KronaError(
                f"{path} is there for {sum(there)} of the run's {len(there)} processes: outputs/ must be on a file "
                "system that all its nodes share"
            )
        return path if there[0] else None

    def write_epoch(self, result: Result) -> None:
        """Write the metrics and the result so far."""
        if self.claim is None:
            return
        write_metrics(self.run.metrics, result.dev_curve, self.claim.write)
        self.run.write(result, self.claim.write)

    def write_end(
        self,
        settings: Run,
        result: Result,
        model: nn.Module,
        predictions: Mapping[str, tuple[Split, list[str]]],
        *,
        backbone: Fingerprint | None,
    ) -> None:
        """Write the files of a finished run, the result last: if it says that the run is done, the others are there.

        Args:
            backbone: its fingerprint, from before its weights may have been sharded.
        """
        if self.claim is None:
            return
        run, write = self.run, self.claim.write
        if result.best_epoch == 0:  # nothing trained: no epoch's end has written it
            write_metrics(run.metrics, result.dev_curve, write)
        write_predictions(run.predictions, predictions, write)
        whole = bool(settings.method.placement.get("train_backbone"))
        if surgery.trainable_state(model) and (settings.keep == "all" or not whole):
            adapter = Adapter.of(model, notes=Origin.of_result(result).as_note(), backbone=backbone)
            adapter.save(run.adapter, write=write)
        result.provenance[CHECKSUMS] = run.checksums()
        run.write(result, write)
        self.claim.remove(run.checkpoint)


def write_metrics(file: Path, curve: list[dict[str, Any]], write: Write) -> None:
    """Write one row per epoch as CSV."""
    rows = [{**{key: row[key] for key in row if key != "parts"}, **row["parts"]} for row in curve]

    def fill(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as opened:
            table = csv.DictWriter(opened, list(dict.fromkeys(key for row in rows for key in row)))
            table.writeheader()
            table.writerows(rows)

    write(file, fill)


def write_predictions(file: Path, predictions: Mapping[str, tuple[Split, list[str]]], write: Write) -> None:
    """Write the id, source, target and prediction of each dev and test row as JSON lines."""

    def fill(part: Path) -> None:
        with part.open("w", encoding="utf-8") as opened:
            for name, (split, texts) in predictions.items():
                for row in predicted_rows(split, texts):
                    opened.write(json.dumps({"split": name, **row}, ensure_ascii=False) + "\n")

    write(file, fill)


def predicted_rows(split: Split, texts: Sequence[str]) -> Iterator[dict[str, str]]:
    """id, source, target and prediction of each row."""
    for row in zip(split.ids, split.sources, split.targets, texts, strict=True):
        yield dict(zip(("id", "source", "target", "prediction"), row, strict=True))


def packed(split: Split, score: dict[str, Any]) -> dict[str, Any]:
    """A split's score as result.json has it, with each row's label and prediction."""
    kept = {key: score[key] for key in ("score", "choice", "parts")}
    return {**kept, "outcomes": outcomes(split.targets, score["predictions"])}


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints written whole or not at all, on any file system, and by the run's owner only."""

    def __init__(self, write: Write = write_whole) -> None:
        self.write = write

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        self.write(Path(path), partial(torch.save, checkpoint))


def damage_of(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, in words; None: it can be read and is whole, by the CRC of each part."""
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            if (damaged := parts.testzip()) is not None:
                return f"its part {damaged} is not what was written"
        content = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
        missing = [key for key in ("state_dict", "epoch", "global_step", "krona") if key not in content]
    except pickle.UnpicklingError:  # torch's own message would have anything be loaded
        return "it holds other things than a run's weights and numbers"
    except Exception as error:  # zip, pickle and torch each raise their own
        return str(error).strip().split("\n")[0] or type(error).__name__
    return f"it lacks {', '.join(missing)}" if missing else None
