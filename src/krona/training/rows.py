"""Data of a run: loaded, checked against the tokenizer, tokenised and batched."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.utils.data import BatchSampler, DataLoader

from krona import tasks
from krona.backbones.families import Family
from krona.backbones.shared import cached
from krona.backbones.tokenizer import tokenizer_fingerprint
from krona.config.settings import Run
from krona.runs.result import Result
from krona.tasks import DataOptions, Split, Splits, Tokenised
from krona.training.batches import Batches, BucketedBatches, EpochOrder, ShareOfBatches, ShortToLong, source_lengths
from krona.training.evaluation import Evaluation, max_label_tokens
from krona.training.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Training batches, and what scores a model on dev and on test."""

    train: DataLoader[Any]
    dev: Evaluation
    test: Evaluation


def prepare_rows(
    settings: Run, result: Result, splits: Splits, family: Family, *, room: int | None, cache: Path, ranks: Ranks
) -> Rows:
    """Tokenise the splits, batch this rank's share of them, and describe them in ``result``."""
    scoring = Ranks() if settings.trainer.strategy == "fsdp" else ranks  # fsdp: all go through the same batches
    if settings.trainer.fast_dev_run:
        first: dict[str, Any] = {name: first_rows(settings, name, getattr(splits, name)) for name in tasks.ROLES}
        splits = replace(splits, **first)
    by_name = {name: getattr(splits, name) for name in tasks.ROLES}
    backbone, targets = settings.backbone, {target for split in by_name.values() for target in split.targets}
    family.check_targets(sorted(targets), source=backbone.tokenizer or backbone.path or backbone.name)
    tokens = {
        name: tasks.tokenise(
            split,
            family,
            max_source_length=settings.max_source_length,
            cache_dir=cache,
            tokenizer_fingerprint=tokenizer_fingerprint(family.tokenizer),
        )
        for name, split in by_name.items()
    }
    longest = max_label_tokens(list(tokens.values()))
    family.check_length(room, source=settings.max_source_length, answer=longest)
    result.provenance["data_kind"] = splits.kind
    if official := tasks.official_rows(settings.task, splits.parts):
        result.provenance["official_rows"] = official
    result.splits = {name: {**facts, "truncated": tokens[name].truncated} for name, facts in splits.facts.items()}
    result.notes += tasks.notes(settings.task, splits, train_rows=settings.data.train_rows)
    result.notes += truncation_notes(settings, tokens)
    result.notes += [split.mended for split in tokens.values() if split.mended]
    loading: dict[str, Any] = {"collate_fn": family.collate, "num_workers": settings.trainer.num_workers}

    def evaluation(name: str) -> Evaluation:
        lengths, rows = source_lengths(tokens[name]), settings.trainer.eval_batch_size
        return Evaluation(
            task=settings.task,
            split=by_name[name],
            batches=DataLoader(
                tokens[name].rows, batch_sampler=ShortToLong(lengths, batch_size=rows, ranks=scoring), **loading
            ),
            family=family,
            longest_label=longest,
            ranks=scoring,
            bf16=settings.trainer.frozen_in_bf16,
        )

    batches = ShareOfBatches(training_batches(settings, tokens["train"]), ranks)
    train: DataLoader[Any] = DataLoader(tokens["train"].rows, batch_sampler=batches, **loading)
    return Rows(train=train, dev=evaluation("dev"), test=evaluation("test"))


def first_rows(settings: Run, name: str, split: Split) -> Split:
    """As many batches of a split as ``trainer.fast_dev_run`` says."""
    rows = settings.step_rows if name == "train" else settings.trainer.eval_batch_size
    return split.take(range(min(len(split), int(settings.trainer.fast_dev_run) * rows)))


def load_splits(settings: Run) -> Splits:
    return tasks.load(settings.task, DataOptions(**vars(settings.data)), prefix=settings.method.task_prefix)


def shared_splits(settings: Run) -> Splits:
    """`load_splits`, kept for later jobs of this process; nothing writes to them."""
    data = settings.data
    content = tasks.data_fingerprint(
        settings.task, kind=data.kind, path=data.path, name=data.name, revision=data.revision
    )
    key = (content, repr(settings.task), repr(data), settings.method.task_prefix)
    splits: Splits = cached("splits", 8, key, lambda: load_splits(settings))
    return splits


def training_batches(settings: Run, tokens: Tokenised) -> Batches:
    """The rows of an epoch's batches, the same on every rank."""
    if settings.trainer.bucket_by_length:
        return BucketedBatches(source_lengths(tokens), batch_size=settings.step_rows, seed=settings.seed)
    return BatchSampler(EpochOrder(len(tokens), seed=settings.seed), settings.step_rows, drop_last=False)


def truncation_notes(settings: Run, tokens: dict[str, Tokenised]) -> list[str]:
    cut = [f"{split.truncated} of {len(split)} in {name}" for name, split in tokens.items() if split.truncated]
    return [f"sources cut to max_source_length={settings.max_source_length}: {', '.join(cut)}"] if cut else []
