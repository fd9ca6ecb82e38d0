"""bench=pipeline: measure the source tokens per second of a training step on rows of GLUE, for three ways of batching.

- Every row is padded to 128 tokens.
- Every row is padded to the longest row of its batch, as in a run.
- Batches contain rows of similar length (``trainer.bucket_by_length``).

In each round, one batch of each way is timed. Padding tokens are not counted.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from benchmarks.contestants import build_adamw, frozen_backbone, training_step, with_method
from benchmarks.settings import Bench, Row, Say, Work, settings
from benchmarks.timing import timed_rounds
from krona import tasks
from krona.backbones.families import Batch, Family, find_family
from krona.backbones.tokenizer import tokenizer_fingerprint
from krona.messages import KronaError
from krona.tasks import Task, Tokenised
from krona.training.batches import TrainingBatches, source_lengths

COLUMNS = {
    "name": "batches", "median_s": "step", "spread": "spread", "real_tokens_per_s": "real tokens/s",
    "ratio_to_padded": "/ padded",
}  # fmt: skip
PLOT = ("ratio_to_padded", "real tokens a second over padding to 128")
PADDED = 128
PADDED_WAY, LONGEST, BUCKETED = f"padded to {PADDED}", "longest", "bucketed"


@settings
class Options:
    """The settings of this benchmark."""

    data: str | None = None
    """The folder with GLUE's files, as in ``data.path``."""
    tokenizer: str | None = None
    """The folder with the backbone's tokenizer."""
    backbone: str = "t5_base"
    tasks: list[str] = field(default_factory=lambda: ["cola", "sst2", "rte"])


def measure(work: Work) -> list[Row]:
    """Return three rows for each task."""
    bench, options = work.bench, work.bench.own(Options)
    named = [Task.from_config(work.compose([f"task={name}"])["task"]) for name in options.tasks]
    data, folder = _find_folder("data", options.data), _find_folder("tokenizer", options.tokenizer)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cache = work.outputs / ".cache" / "tokens"  # as in a run
    model = with_method(frozen_backbone(work.backbone, seed=bench.seed), work.entrants[0], seed=bench.seed)
    if len(tokenizer) > model.config.vocab_size:
        raise KronaError(
            f"bench.options.tokenizer={folder} has {len(tokenizer)} tokens, but {options.backbone} has embeddings for "
            f"{model.config.vocab_size}. Give the tokenizer of this backbone."
        )
    family = find_family(model.config, options.backbone)
    families = {task.name: family(task, tokenizer) for task in named}
    tokens = {task.name: _read_tokens(task, data, families[task.name], cache) for task in named}
    for name, rows in tokens.items():
        if len(rows) < bench.batch_size:
            raise KronaError(f"bench.batch_size={bench.batch_size} is larger than {name}, which has {len(rows)} rows.")
    bench = replace(bench, minutes=bench.minutes / len(tokens))
    found: list[Row] = []
    for name, rows in tokens.items():
        work.say(name)
        found += _measure_task(bench, families[name], model, name, rows, work.say)
    return found


def _find_folder(key: str, path: str | None) -> Path:
    if path is None or not Path(path).expanduser().is_dir():
        raise KronaError(
            f"bench.options.{key}={path or 'null'} is not a folder. This benchmark reads GLUE's files and the "
            "backbone's tokenizer: bench.options.data=FOLDER bench.options.tokenizer=FOLDER"
        )
    return Path(path).expanduser()


def _read_tokens(task: Task, data: Path, family: Family, cache: Path) -> Tokenised:
    return tasks.tokenise(
        tasks.load(task, tasks.Data(kind="tsv", path=str(data))).train,
        family,
        max_source_length=PADDED,
        cache_dir=cache,
        tokenizer_fingerprint=tokenizer_fingerprint(family.tokenizer),
    )


def _measure_task(bench: Bench, family: Family, model: Any, task: str, tokens: Tokenised, say: Say) -> list[Row]:
    counts: dict[str, list[int]] = {PADDED_WAY: [], LONGEST: [], BUCKETED: []}
    calls = {}
    for name, real in counts.items():
        batches = full_batches(bench, len(tokens), source_lengths(tokens) if name == BUCKETED else None)
        calls[name] = timed_step(family, model, tokens, batches, real, length=PADDED if name == PADDED_WAY else None)
    timed = timed_rounds(bench, calls, say=say)
    speed = {
        name: sum(real[number] for number in timed.kept) / sum(timed.seconds[name]) for name, real in counts.items()
    }
    return [
        {
            **timed.row(name),
            "name": f"{task}/{name}",
            "real_tokens_per_s": speed[name],
            "ratio_to_padded": speed[name] / speed[PADDED_WAY],
        }
        for name in counts
    ]


def full_batches(bench: Bench, rows: int, lengths: Sequence[int] | None = None) -> Iterator[list[int]]:
    """Yield the batches of an endless sequence of epochs. A smaller last batch of an epoch is left out."""
    batches = TrainingBatches(rows, batch_size=bench.batch_size, seed=bench.seed, lengths=lengths)
    for epoch in itertools.count():
        batches.set_epoch(epoch)
        yield from (batch for batch in batches if len(batch) == bench.batch_size)


def timed_step(
    family: Family, model: Any, tokens: Tokenised, batches: Iterator[list[int]], real: list[int], *,
    length: int | None = None,
) -> Callable[[], float]:  # fmt: skip
    """Return a function that runs one training step and returns its time in seconds.

    The time includes reading the rows from disk, collating them, and updating the weights.

    Args:
        family: the family of the model.
        model: the model.
        tokens: the tokenised rows.
        batches: an iterator over the row numbers of each batch.
        real: a list to which each step appends its number of source tokens without padding.
        length: the length to which sources are padded. None means the longest source of the batch.
    """
    optimizer = build_adamw(model)
    assert optimizer is not None

    def step() -> float:
        rows = next(batches)
        start = time.perf_counter()
        batch = family.collate([tokens[row] for row in rows])
        if length is not None:
            batch = _pad(batch, length, left=family.answer_follows)
        training_step(family, model, batch, input_gradient=False)()
        optimizer.step()
        seconds = time.perf_counter() - start
        real.append(int(batch["attention_mask"].sum()))
        return seconds

    return step


def _pad(batch: Batch, length: int, *, left: bool) -> Batch:
    """Pad the sources to a length. Token 0 is used, because the attention mask hides the padding from the model."""
    missing = length - batch["input_ids"].shape[1]
    sides = (missing, 0) if left else (0, missing)
    pad = torch.nn.functional.pad
    return {name: values if name == "labels" else pad(values, sides) for name, values in batch.items()}
