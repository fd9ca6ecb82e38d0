"""bench=pipeline: real tokens a second of the whole training step, on GLUE's own rows, by the way of batching.

Three ways: every row padded to 128; padding to the batch's longest, as runs have it; and batches of rows of about one
length (``trainer.bucket_by_length``). A round is one batch of each; tokens and seconds are summed over rounds.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from benchmarks.contestants import frozen, training_step, with_method
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
    """data: GLUE's folder, as ``data.path`` of a run; tokenizer: the folder of the backbone's tokenizer."""

    data: str | None = None
    tokenizer: str | None = None
    backbone: str = "t5_base"
    tasks: list[str] = field(default_factory=lambda: ["cola", "sst2", "rte"])


def measure(work: Work) -> list[Row]:
    """Three rows a task."""
    bench, options = work.bench, work.bench.own(Options)
    named = [Task.from_config(work.compose([f"task={name}"])["task"]) for name in options.tasks]
    data, tokenizer_folder = _folder("data", options.data), _folder("tokenizer", options.tokenizer)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    cache = work.outputs / ".cache" / "tokens"  # as runs keep them
    model = with_method(frozen(work.backbone, seed=bench.seed), work.entrants[0], seed=bench.seed)
    if len(tokenizer) > model.config.vocab_size:
        raise KronaError(
            f"bench.options.tokenizer={tokenizer_folder}: it has {len(tokenizer)} pieces, {options.backbone} embeds "
            f"{model.config.vocab_size}: they do not belong together"
        )
    family = find_family(model.config, options.backbone)
    families = {task.name: family(task, tokenizer) for task in named}
    read = {task.name: _tokens(task, data, families[task.name], cache) for task in named}
    for name, tokens in read.items():
        if len(tokens) < bench.batch_size:
            raise KronaError(f"bench.batch_size={bench.batch_size}: {name} has {len(tokens)} rows, less than a batch")
    bench = replace(bench, minutes=bench.minutes / len(read))
    rows: list[Row] = []
    for name, tokens in read.items():
        work.say(name)
        rows += _one_task(bench, families[name], model, name, tokens, work.say)
    return rows


def _folder(key: str, path: str | None) -> Path:
    if path is None or not Path(path).expanduser().is_dir():
        raise KronaError(
            f"bench.options.{key}={path or 'null'}: no such folder; this bench reads GLUE's own files and the "
            "backbone's tokenizer: bench.options.data=FOLDER bench.options.tokenizer=FOLDER"
        )
    return Path(path).expanduser()


def _tokens(task: Task, data: Path, family: Family, cache: Path) -> Tokenised:
    return tasks.tokenise(
        tasks.load(task, tasks.DataOptions(kind="tsv", path=str(data))).train,
        family,
        max_source_length=PADDED,
        cache_dir=cache,
        tokenizer_fingerprint=tokenizer_fingerprint(family.tokenizer),
    )


def _one_task(bench: Bench, family: Family, model: Any, task: str, tokens: Tokenised, say: Say) -> list[Row]:
    real: dict[str, list[int]] = {PADDED_WAY: [], LONGEST: [], BUCKETED: []}
    ways = {
        PADDED_WAY: _way(family, model, tokens, full_batches(bench, len(tokens)), real[PADDED_WAY], length=PADDED),
        LONGEST: _way(family, model, tokens, full_batches(bench, len(tokens)), real[LONGEST]),
        BUCKETED: _way(family, model, tokens, full_batches(bench, len(tokens), source_lengths(tokens)), real[BUCKETED]),
    }
    timed = timed_rounds(bench, ways, say=say)
    speed = {name: sum(real[name][number] for number in timed.kept) / sum(timed.seconds[name]) for name in ways}
    return [
        {
            **timed.row(name),
            "name": f"{task}/{name}",
            "real_tokens_per_s": speed[name],
            "ratio_to_padded": speed[name] / speed[PADDED_WAY],
        }
        for name in ways
    ]


def full_batches(bench: Bench, rows: int, lengths: Sequence[int] | None = None) -> Iterator[list[int]]:
    """Yield the batches of endless epochs, without the smaller last one of an epoch."""
    batches = TrainingBatches(rows, batch_size=bench.batch_size, seed=bench.seed, lengths=lengths)
    for epoch in itertools.count():
        batches.set_epoch(epoch)
        yield from (batch for batch in batches if len(batch) == bench.batch_size)


def _way(
    family: Family, model: Any, tokens: Tokenised, batches: Iterator[list[int]], real: list[int], *,
    length: int | None = None,
) -> Callable[[], float]:  # fmt: skip
    """The seconds of one step from rows on disk to new weights; its real source tokens are added to ``real``."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)

    def step() -> float:
        rows = next(batches)
        start = time.perf_counter()
        batch = family.collate([tokens[row] for row in rows])
        if length is not None:
            batch = _padded(batch, length, left=family.answer_follows)
        training_step(family, model, batch, from_embeddings=False)()
        optimizer.step()
        seconds = time.perf_counter() - start
        real.append(int(batch["attention_mask"].sum()))
        return seconds

    return step


def _padded(batch: Batch, length: int, *, left: bool) -> Batch:
    """Sources padded to a length; nothing sees the padding, whatever token it is."""
    missing = length - batch["input_ids"].shape[1]
    sides = (missing, 0) if left else (0, missing)
    pad = torch.nn.functional.pad
    return {name: values if name == "labels" else pad(values, sides) for name, values in batch.items()}
