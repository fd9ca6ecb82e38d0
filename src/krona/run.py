"""One run, top to bottom: data → backbone → method inserted → trainer → predictions → scores → result on disk."""

import csv
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

from krona import backbones, surgery, tasks
from krona.adapter_file import save_adapter
from krona.allocator import keep_freed_memory
from krona.batches import BucketedBatches, ShortToLong, source_lengths
from krona.check import locate
from krona.errors import KronaError
from krona.insertion import insert_method
from krona.learner import EpochOrder, Learner, longest_target, predict, scored
from krona.progress import Progress
from krona.provenance import PeakMemory
from krona.results import Result, now, outcomes, write_result, write_whole
from krona.settings import Run
from krona.sharing import kept, shared_backbone
from krona.tasks import Split, Splits, Tokenised
from krona.trackers.tracking import Trackers

SPLITS = ("train", "dev", "test")


def run(
    settings: Run,
    result: Result,
    folder: Path,
    *,
    progress: Progress,
    trackers: Trackers,
    still_ours: Callable[[], None],
    share: bool = False,
) -> None:
    """Train, choose the epoch on dev, score test once; fill ``result`` and the run's ``folder``.

    ``still_ours`` is called before each write and raises where another process has taken the run over. ``share``: other
    jobs of this process have the backbone and the data too (`krona.sharing`).
    """
    keep_freed_memory()
    began, memory = time.perf_counter(), PeakMemory()
    memory.reset()
    if settings.trainer.threads is not None:
        torch.set_num_threads(settings.trainer.threads)
    result.provenance["threads"] = torch.get_num_threads()
    pl.seed_everything(settings.seed, verbose=False)

    # Data
    splits = shared_splits(settings) if share else load_splits(settings)
    backbone = (shared_backbone if share else backbones.load)(settings.backbone, seed=settings.seed)
    require_labels(settings, splits, backbone.tokenizer)
    tokens = tokenise_splits(settings, splits, backbone.tokenizer, cache=folder.parent / ".cache" / "tokens")
    result.splits = {name: split_facts(getattr(splits, name), tokens[name]) for name in SPLITS}
    result.provenance |= {"data_kind": splits.kind}
    result.notes += truncation_notes(settings, tokens)
    train_batches, dev_batches, test_batches = loaders(settings, tokens, pad=backbone.tokenizer.pad_token_id)
    steps = total_steps(settings, len(train_batches))
    result.notes += schedule_notes(settings, steps, len(train_batches))

    # Backbone with the method inserted
    torch.manual_seed(settings.seed)  # the branches' start, whatever was drawn before
    used, notes = insert_method(
        backbone.model, settings.method, counterparts=settings.backbone.factor_shapes, reversible=share
    )
    result.notes += notes
    result.provenance["branch_config"] = used
    count = surgery.count(backbone.model)
    result.trainable_params, result.trainable_percent = count.trainable, count.percent
    result.times["setup"] = time.perf_counter() - began
    progress.begin(settings, result, steps=steps)

    # Training
    max_new_tokens = longest_target(list(tokens.values()))

    def evaluate(split: Split, batches: DataLoader[Any], device: torch.device) -> dict[str, Any]:
        texts = predict(backbone.model, batches, backbone.tokenizer, max_new_tokens=max_new_tokens, device=device)
        return scored(settings.task, split, texts)

    def after_epoch(learner: Learner) -> None:
        still_ours()
        result.dev_curve = learner.dev_curve
        result.progress = {"epoch": len(learner.dev_curve), "step": learner.global_step, "steps": steps}
        write_metrics(folder, learner.dev_curve)
        write_result(folder, result)
        progress.epoch(learner)
        trackers.epoch(learner)

    learner = Learner(
        backbone.model,
        build_optimizer=partial(
            locate(settings.optimizer.target, "optimizer._target_"),
            lr=settings.optimizer.lr,
            **settings.optimizer.arguments,
        ),
        warmup_steps=settings.optimizer.warmup_steps,
        total_steps=steps,
        gradient_clip=settings.optimizer.gradient_clip,
        micro_batch_size=settings.micro_batch_size,
        seed=settings.seed,
        patience=settings.trainer.patience,
        evaluate_dev=lambda: evaluate(splits.dev, dev_batches, learner.device),
        after_epoch=after_epoch,
    )
    trainer = build_trainer(settings, folder, [progress, trackers])
    device = trainer.strategy.root_device
    if steps > 0 and count.trainable > 0:
        checkpoint = folder / "last.ckpt"
        trainer.fit(
            learner,
            train_batches,
            ckpt_path=str(checkpoint) if checkpoint.is_file() else None,
            weights_only=True,
        )
    else:  # nothing trains: the backbone as it is, scored as epoch 0
        learner.to(device)
        dev = evaluate(splits.dev, dev_batches, device)
        learner.record({"epoch": 0, "step": 0, "score": dev["score"], "parts": dev["parts"]}, dev)
        write_metrics(folder, learner.dev_curve)

    # The best epoch on dev is the model; test is looked at once, and not at all in a search for hyper-parameters
    learner.to(device)  # Lightning leaves the model on the CPU
    learner.restore_best()
    assert learner.best is not None
    scores = {"dev": learner.best["dev"]}
    if settings.score_test:
        clock = time.perf_counter()
        scores["test"] = evaluate(splits.test, test_batches, device)
        learner.seconds["evaluate"] += time.perf_counter() - clock

    # Result on disk
    still_ours()
    write_predictions(folder, splits, {name: score["predictions"] for name, score in scores.items()})
    write_weights(folder, settings, backbone.model)
    result.best_epoch, result.dev_curve = learner.best["epoch"], learner.dev_curve
    result.dev = packed(splits.dev, scores["dev"])
    result.test = packed(splits.test, scores["test"]) if "test" in scores else None
    result.progress = {}
    result.times |= {
        **learner.seconds,
        "total": learner.seconds_before + time.perf_counter() - began,
        "examples_per_s": learner.examples_seen / learner.seconds["train"] if learner.seconds["train"] else 0.0,
    }
    result.peak_memory = memory.read()
    result.status = "done"
    result.provenance["finished"] = now()
    write_result(folder, result)
    (folder / "last.ckpt").unlink(missing_ok=True)


def load_splits(settings: Run) -> Splits:
    data = settings.data
    return tasks.load(
        settings.task,
        kind=data.kind,
        path=data.path,
        protocol=data.protocol,
        train_rows=data.train_rows,
        skip_bad_rows=data.skip_bad_rows,
        seed=data.seed,
        name=data.name,
        revision=data.revision,
        prefix=settings.method.task_prefix,
    )


def shared_splits(settings: Run) -> Splits:
    """The rows of a task as this process has read them before; they are only read."""
    data = settings.data
    content = tasks.data_fingerprint(
        settings.task, kind=data.kind, path=data.path, name=data.name, revision=data.revision
    )
    key = (content, repr(settings.task), repr(data), settings.method.task_prefix)
    splits: Splits = kept("splits", 8).get(key, lambda: load_splits(settings))
    return splits


def require_labels(settings: Run, splits: Splits, tokenizer: Any) -> None:
    """Raise where a label does not come back from the tokenizer: it could never be predicted."""
    for label in sorted({target for name in SPLITS for target in getattr(splits, name).targets}):
        back = tokenizer.decode(tokenizer(label)["input_ids"], skip_special_tokens=True).strip()
        if back != label:
            raise KronaError(
                f"the tokenizer of {settings.backbone.tokenizer or settings.backbone.path or settings.backbone.name} "
                f"can't write the label {label!r} of {settings.task.name}: it comes back as {back!r}. Is its "
                "tokenizer.json (or spiece.model) there and whole? backbone.tokenizer=FOLDER names another"
            )


def tokenise_splits(settings: Run, splits: Splits, tokenizer: Any, *, cache: Path) -> dict[str, Tokenised]:
    return {
        name: tasks.tokenise(
            getattr(splits, name),
            tokenizer,
            max_source_length=settings.max_source_length,
            cache_dir=cache,
            tokenizer_fingerprint=backbones.tokenizer_fingerprint(tokenizer),
        )
        for name in SPLITS
    }


def loaders(settings: Run, tokens: dict[str, Tokenised], *, pad: int) -> tuple[DataLoader[Any], ...]:
    """Batches padded to their longest: train in the epoch's order, dev and test from short to long."""
    collate = partial(tasks.collate, pad_token_id=pad)
    workers = settings.trainer.num_workers
    loading: dict[str, Any] = {"collate_fn": collate, "num_workers": workers}
    if settings.trainer.bucket_by_length:
        lengths = source_lengths(tokens["train"])
        picked: dict[str, Any] = {
            "batch_sampler": BucketedBatches(lengths, batch_size=settings.batch_size, seed=settings.seed)
        }
    else:
        order = EpochOrder(len(tokens["train"]), seed=settings.seed)
        picked = {"sampler": order, "batch_size": settings.batch_size}
    train: DataLoader[Any] = DataLoader(tokens["train"].rows, **picked, **loading)
    dev, test = (
        DataLoader(
            tokens[name].rows,
            settings.trainer.eval_batch_size,
            sampler=ShortToLong(source_lengths(tokens[name])),
            **loading,
        )
        for name in ("dev", "test")
    )
    return train, dev, test


def total_steps(settings: Run, steps_per_epoch: int) -> int:
    """Optimiser steps of the whole run: the epochs', or max_steps where that is less."""
    steps = settings.trainer.max_epochs * steps_per_epoch
    return steps if settings.trainer.max_steps < 0 else min(steps, settings.trainer.max_steps)


def build_trainer(settings: Run, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    checkpoint = ModelCheckpoint(
        dirpath=folder,
        filename="last",
        monitor=None,  # the last epoch's, to go on from; the best epoch's weights are inside
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    # max_steps is the learner's: Lightning resumes a run that it counts by steps in the middle of an epoch
    return pl.Trainer(
        max_epochs=settings.trainer.max_epochs,
        precision=settings.trainer.precision,
        accelerator=settings.trainer.accelerator,
        devices=settings.trainer.devices,
        strategy=settings.trainer.strategy,
        callbacks=[*callbacks, checkpoint],
        plugins=[WholeCheckpoints()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are written whole or not at all, on any file system."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_whole(Path(path), partial(torch.save, checkpoint))

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return super().load_checkpoint(path, *args, **kwargs)
        except Exception as error:  # zip, pickle and torch each raise their own
            first = str(error).strip().split("\n")[0]
            raise KronaError(f"{path} can't be read ({first}): overwrite=true starts the run anew") from error


def packed(split: Split, score: dict[str, Any]) -> dict[str, Any]:
    return {
        "score": score["score"],
        "choice": score["choice"],
        "parts": score["parts"],
        "outcomes": outcomes(split.targets, score["predictions"]),
    }


def split_facts(split: Split, tokens: Tokenised) -> dict[str, Any]:
    return {
        "rows": len(split),
        "fingerprint": split.fingerprint,
        "skipped_rows": split.skipped_rows,
        "truncated": tokens.truncated,
    }


def truncation_notes(settings: Run, tokens: dict[str, Tokenised]) -> list[str]:
    cut = {name: split.truncated for name, split in tokens.items() if split.truncated}
    if not cut:
        return []
    counts = ", ".join(f"{count} of {len(tokens[name])} in {name}" for name, count in cut.items())
    return [f"sources cut to max_source_length={settings.max_source_length}: {counts}"]


def schedule_notes(settings: Run, steps: int, steps_per_epoch: int) -> list[str]:
    warmup = settings.optimizer.warmup_steps
    if not steps or warmup < 0.25 * steps:
        return []
    share = min(100, round(100 * warmup / steps))
    whose = ", as the paper has it" if warmup == 500 else ""
    return [
        f"warm-up takes {warmup} of {steps} steps ({share} % of training, {steps_per_epoch} steps an epoch){whose}; "
        "optimizer.warmup_steps= changes it"
    ]


def write_metrics(folder: Path, curve: list[dict[str, Any]]) -> None:
    """metrics.csv: a row an epoch."""
    rows = [{**{key: value for key, value in row.items() if key != "parts"}, **row["parts"]} for row in curve]

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
            table.writeheader()
            table.writerows(rows)

    write_whole(folder / "metrics.csv", write)


def write_predictions(folder: Path, splits: Splits, predictions: dict[str, list[str]]) -> None:
    """predictions.jsonl: id, source, target and prediction of each dev and test row."""

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8") as file:
            for name, texts in predictions.items():
                split: Split = getattr(splits, name)
                for row in zip(split.ids, split.sources, split.targets, texts, strict=True):
                    named = dict(zip(("id", "source", "target", "prediction"), row, strict=True))
                    file.write(json.dumps({"split": name, **named}, ensure_ascii=False) + "\n")

    write_whole(folder / "predictions.jsonl", write)


def write_weights(folder: Path, settings: Run, model: torch.nn.Module) -> None:
    """adapter.safetensors: what trained. Full fine-tuning's weights are the whole model: only with keep=all."""
    whole = bool(settings.method.placement.get("train_backbone"))
    if surgery.trainable_state(model) and (settings.keep == "all" or not whole):
        save_adapter(model, folder / "adapter.safetensors")
