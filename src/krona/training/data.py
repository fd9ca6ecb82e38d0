"""Load and tokenise the data of a run, and build its training batches and its evaluations on dev and test."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute
import torch
from torch.utils.data import DataLoader, Sampler

from krona import tasks
from krona.backbones.families import Batch, Family
from krona.backbones.load import Loaded, RecentValues, tokenizer_fingerprint
from krona.config.settings import RunSettings
from krona.messages import KronaError, first_few, join_names
from krona.random_streams import stream_seed
from krona.runs.result import Result
from krona.tasks import Splits, Task, Tokenised
from krona.tasks.splits import permutation
from krona.training.devices import Ranks
from krona.training.evaluation import EvaluationBatches, SplitEvaluation, chunks
from krona.training.schedule import count_batches

WINDOW = 50  # number of batches in a window (`TrainingBatches`)
MAX_LISTED = 20  # maximum number of label weights in a note
SPLITS: RecentValues[Splits] = RecentValues(8)  # rows that this process has read and will need again


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The training batches of a run, and the evaluations that score a model on dev and on test."""

    train: DataLoader[Any]
    dev: SplitEvaluation
    test: SplitEvaluation

    def single_rows(self) -> Iterator[Batch]:
        """Yield a batch for each training row, in the order of the first epoch. All ranks get the same rows."""
        sampler = self.train.batch_sampler
        assert isinstance(sampler, TrainingBatches)
        for row in sampler.first_epoch():
            yield self.train.collate_fn([self.train.dataset[row]])


def load_splits(settings: RunSettings, *, fingerprint: str, keep: bool) -> Splits:
    """Return the rows of train, dev and test. The caller must not change them.

    Args:
        fingerprint: the fingerprint of the data in the run id.
        keep: whether to keep the rows in memory for the next call of this process.

    Raises:
        KronaError: the data cannot be read or divided, or the data files have changed since the run id was computed.
    """
    task, data, prefix = settings.task, settings.data, settings.method.task_prefix

    def load() -> Splits:
        splits = tasks.load(task, data, prefix=prefix, others=True)
        if (now := tasks.data_fingerprint(task, data)) != fingerprint:
            raise KronaError(
                f"The data of task {task.name} changed after the run id was computed: their fingerprint was "
                f"{fingerprint} and is now {now}. Run the same command again."
            )
        return splits

    key = (fingerprint, repr(task), repr(data), prefix)
    splits = SPLITS.get_or_make(key, load)
    if not keep:
        del SPLITS[key]
    return splits


def build_data(
    settings: RunSettings, result: Result, splits: Splits, backbone: Loaded, *, cache: Path, ranks: Ranks
) -> RunData:
    """Tokenise the splits, build the batches of this rank, and record facts about the data in ``result``.

    Raises:
        KronaError: the backbone's tokenizer cannot reproduce the labels.
    """
    trainer, family = settings.trainer, backbone.family
    if trainer.fast_dev_run:
        first: dict[str, Any] = {}
        for name, split in splits.by_role.items():
            rows = settings.step_rows if name == "train" else trainer.eval_batch_size
            first[name] = split.take(range(min(len(split), int(trainer.fast_dev_run) * rows)))
        splits = replace(splits, **first)
    if family.generates_text and (decimals := settings.task.decimals) is not None:
        exact, splits = splits, splits.round_targets(decimals)
        if splits != exact:
            result.notes.append(
                f"Targets are rounded (task.decimals={decimals}), because this backbone generates them as text."
            )
    by_name = splits.by_role
    targets = {target for split in by_name.values() for target in split.targets}
    family.check_targets(sorted(targets), source=settings.backbone.tokenizer or settings.backbone.name_or_path)
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
    max_label_tokens = max(len(labels) for split in tokens.values() for labels in split.rows["labels"])

    _record_splits(settings, result, splits, tokens, family)
    loading: dict[str, Any] = {"collate_fn": family.collate, "num_workers": trainer.num_workers}

    def evaluation(name: str) -> SplitEvaluation:
        batches = EvaluationBatches(source_lengths(tokens[name]), batch_size=trainer.eval_batch_size, ranks=ranks)
        return SplitEvaluation(
            task=settings.task,
            split=by_name[name],
            batches=DataLoader(tokens[name].rows, batch_sampler=batches, **loading),
            family=family,
            max_label_tokens=max_label_tokens,
            ranks=ranks,
            autocast=trainer.autocast,
        )

    batches = TrainingBatches(
        len(tokens["train"]),
        batch_size=settings.step_rows,
        seed=settings.seed,
        lengths=source_lengths(tokens["train"]) if trainer.bucket_by_length else None,
        ranks=ranks,
        limit=settings.batch_size * count_batches(settings, len(tokens["train"])),
    )
    loading_train = {**loading, "collate_fn": _weight_labels(settings.task, splits, family, result)}
    train: DataLoader[Any] = DataLoader(tokens["train"].rows, batch_sampler=batches, **loading_train)
    return RunData(train=train, dev=evaluation("dev"), test=evaluation("test"))


def _record_splits(
    settings: RunSettings, result: Result, splits: Splits, tokens: Mapping[str, Tokenised], family: Family
) -> None:
    """Record the numbers of rows, and notes about rows and truncated sources, in ``result``."""
    if official := tasks.official_rows(settings.task, splits.official):
        result.provenance["official_rows"] = official
    recorded: Any = {name: {**facts, "truncated": tokens[name].truncated} for name, facts in splits.facts.items()}
    result.splits = recorded
    result.notes += tasks.notes(settings.task, splits)
    if not family.generates_text and (unread := _unread_keys(settings.task)):
        result.notes.append(f"An encoder reads only the texts of the columns, without {join_names(unread)}.")
    cut = [f"{split.truncated} of {len(split)} in {name}" for name, split in tokens.items() if split.truncated]
    if cut:
        result.notes.append(
            f"Sources longer than max_source_length={settings.max_source_length} were cut: {', '.join(cut)}."
        )


def _weight_labels(task: Task, splits: Splits, family: Family, result: Result) -> Callable[..., Batch]:
    """Return the function that collates training rows. With ``task.class_weights``, it adds a weight for each row."""
    weights = task.loss_weights(splits.by_role["train"].targets)
    if not weights:
        return family.collate
    listed = [f"{task.label_name(target)} {weight:.4g}" for target, weight in weights.items()]
    result.notes.append(f"Weights of the labels in the loss: {', '.join(first_few(listed, MAX_LISTED))}.")
    by_label = {tuple(family.label(target)): weight for target, weight in weights.items()}
    return partial(_collate_with_weights, family, by_label)


def _collate_with_weights(
    family: Family, weights: Mapping[tuple[int, ...], float], rows: Sequence[Mapping[str, Sequence[Any]]]
) -> Batch:
    """Collate rows, and add the weight of each row's label (`Family.summed_loss`)."""
    each = [[weights[tuple(row["labels"])]] for row in rows]
    bits = torch.tensor(each, dtype=torch.float32).view(torch.int32)  # with bf16-true, Lightning would round floats
    return {**family.collate(rows), "weights": bits.view(len(rows), 1)}


def _unread_keys(task: Task) -> list[str]:
    """Return the keys of a task that change the source text, but have no effect on an encoder.

    For SuperGLUE tasks, the key ``prefix`` is omitted, because krona's own task files set it for T5.
    """
    plain = " ".join(f"{column} {{{column}}}" for column in task.columns)
    own_template = sorted(task.template.replace(":", "").split()) != sorted(plain.replace(":", "").split())
    own_prefix = task.prefix is not None and task.data_kind != "superglue"
    return ["task.template"] * own_template + ["task.prefix"] * own_prefix


class TrainingBatches(Sampler[list[int]]):
    """The batch sampler for a training epoch.

    The order of the rows depends only on the seed and the epoch. A resumed run therefore repeats the same order.

    If ``lengths`` is given, each batch contains rows of similar length. The shuffled rows are divided into windows of
    `WINDOW` batches. The rows of each window are sorted by length and divided into batches. Finally, all batches are
    shuffled. In the paper, by contrast, batches do not depend on the lengths of the rows.

    Each batch of ``batch_size`` rows is divided among all ranks. If the number of rows is not divisible by the number
    of ranks, some ranks get one row fewer than others, and may get no row of the last batch.

    If ``limit`` is given, an epoch ends after at most this number of rows.
    """

    def __init__(
        self,
        num_rows: int,
        *,
        batch_size: int,
        seed: int,
        lengths: Sequence[int] | None = None,
        ranks: Ranks | None = None,
        limit: int | None = None,
    ) -> None:
        self.num_rows, self.batch_size, self.seed, self.lengths = num_rows, batch_size, seed, lengths
        self.limit = num_rows if limit is None else min(num_rows, limit)
        self.ranks = ranks or Ranks()
        self.epoch = 0
        self.sampler = self  # Lightning calls the method `set_epoch` of a batch sampler's attribute ``sampler``

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch. Lightning calls this method before each epoch, also in a resumed run."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.limit // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        left = self.limit
        for batch in self._batches(self.epoch)[: len(self)]:
            yield batch[:left][self.ranks.rank :: self.ranks.size]
            left -= len(batch)

    def first_epoch(self) -> list[int]:
        """Return all ranks' rows of the first epoch, in training order."""
        return [row for batch in self._batches(epoch=0) for row in batch][: self.limit]

    def _batches(self, epoch: int) -> list[list[int]]:
        order = permutation(self.num_rows, stream_seed("rows", self.seed, step=epoch))
        if self.lengths is None:
            return chunks(order, self.batch_size)
        batches: list[list[int]] = []
        for window in chunks(order, WINDOW * self.batch_size):
            batches += chunks(sorted(window, key=self.lengths.__getitem__), self.batch_size)
        batch_order = permutation(len(batches), stream_seed("batches", self.seed, step=epoch))
        return [batches[index] for index in batch_order]


def source_lengths(tokens: Tokenised) -> list[int]:
    """Return the number of source tokens of each row."""
    lengths: list[int] = pyarrow.compute.list_value_length(tokens.rows.data.column("input_ids")).to_pylist()
    return lengths
