"""One run, top to bottom: data → backbone → method inserted → training → best epoch → result on disk."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from transformers import PreTrainedModel

from krona import surgery
from krona.adapters.adapter import Adapter
from krona.adapters.fingerprint import Fingerprint
from krona.adapters.start import begin_from, read_start
from krona.backbones import load as backbones
from krona.backbones.description import describe_backbone
from krona.backbones.families import max_positions
from krona.backbones.held_out import HeldOut
from krona.backbones.large import recompute_blocks, shard_frozen, train_in_fp32
from krona.backbones.shared import shared_backbone
from krona.backbones.with_method import insert_method, method_defaults
from krona.config.settings import Run
from krona.config.targets import build_optimizer
from krona.runs.claim import Claim
from krona.runs.forgetting import format_forgetting
from krona.runs.result import Result, now
from krona.surgery.operations import launches, multiply_adds
from krona.training.callbacks import build_callbacks
from krona.training.files import RunFiles, packed
from krona.training.learner import Learner
from krona.training.machine import PeakMemory, bf16_notes, cpu_count, keep_freed_memory
from krona.training.measures import load_held_out, measure_forgetting, measure_updates, require_finite
from krona.training.plan import Plan
from krona.training.progress import Progress
from krona.training.ranks import Ranks
from krona.training.rows import Rows, load_splits, prepare_rows, shared_splits
from krona.training.schedule import build_schedule, count_epoch_steps, count_warmup_steps, schedule_notes, total_steps
from krona.training.tracking import Trackers
from krona.training.trainer import build_trainer, train


def run(
    settings: Run,
    result: Result,
    folder: Path,
    *,
    progress: Progress,
    trackers: Trackers,
    claim: Claim | None,
    ranks: Ranks,
    share: bool = False,
) -> None:
    """Train, choose the epoch on dev, score test once; fill ``result`` and the run's ``folder``.

    Args:
        progress, trackers: callbacks of Lightning's trainer, and called after each epoch when dev is scored and
            ``result`` written (Lightning ends an epoch for its callbacks before the learner has recorded it).
        claim: of the first of the ranks, which alone writes; it raises if another process has taken the run over.
        ranks: the processes of this run, each called with the same arguments; the first writes.
        share: use the backbone and the data of this process's other jobs (`krona.backbones.shared`).
    """
    began, memory = time.perf_counter(), PeakMemory()
    memory.reset()
    files = RunFiles(folder=folder, claim=claim, ranks=ranks)
    parts = prepare(settings, result, cache=folder.parent / ".cache" / "tokens", ranks=ranks, share=share)
    rows, steps = parts.rows, parts.steps
    result.times["setup"] = time.perf_counter() - began
    progress.begin(settings, result, steps=steps)

    # Training
    def after_epoch(learner: Learner) -> None:
        result.dev_curve = learner.dev_curve
        result.progress = {"epoch": len(learner.dev_curve), "step": learner.global_step, "steps": steps}
        files.write_epoch(result)
        progress.epoch(learner)
        trackers.epoch(learner)

    learner = build_learner(
        settings, parts, ranks=ranks, after_backward=trackers.after_backward, after_epoch=after_epoch
    )
    callbacks = [progress, trackers, *build_callbacks(settings, first=ranks.first)]
    trainer = build_trainer(settings, folder, callbacks, ranks, claim, logger=trackers.logger)
    train(trainer, learner, rows, checkpoint=files.checkpoint())

    # The best epoch on dev is the model; test is scored once, and never in a search for hyper-parameters
    scores = {"dev": learner.restore_best()["dev"]}
    require_finite(settings, parts.backbone, rows)
    if settings.score_test:
        scores["test"] = learner.timed_evaluation(rows.test)

    # Result on disk
    conclude(result, rows, learner, scores)
    result.times["total"] = learner.seconds_before + time.perf_counter() - began
    result.peak_memory = memory.read()

    # Beside the scores: nothing here counts as the run's time or memory
    measure_updates(settings, result, parts.backbone, rows, ranks)
    if parts.held_out is not None and ranks.first:
        result.forgetting = measure_forgetting(settings, parts.backbone, parts.held_out)
        progress.say(f"  forgetting {format_forgetting(result.forgetting)}")
    predictions = {name: (getattr(rows, name).split, score["predictions"]) for name, score in scores.items()}
    files.write_end(settings, result, learner.model, predictions, backbone=parts.fingerprint)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run trains and on what: the backbone with the method in it, and its rows."""

    backbone: backbones.Loaded
    rows: Rows
    steps: int
    fingerprint: Fingerprint | None  # the backbone's, from before its weights may have been sharded
    held_out: HeldOut | None  # the text of trainer.measure_forgetting


def prepare(settings: Run, result: Result, *, cache: Path, ranks: Ranks, share: bool = False) -> Parts:
    """Data, backbone and method; ``result`` gets their facts. ``cache``: the folder of tokenised rows."""
    prepare_process(settings, result, ranks)

    # Data, and the backbone whose tokenizer reads it
    splits = (shared_splits if share else load_splits)(settings)
    load = shared_backbone if share else backbones.load
    backbone = load(settings.backbone, settings.task, seed=settings.seed, bf16=settings.trainer.frozen_in_bf16)
    model = backbone.model
    rows = prepare_rows(
        settings, result, splits, backbone.family, room=max_positions(model.config), cache=cache, ranks=ranks
    )
    held_out = load_held_out(settings, backbone.family)
    epoch_steps = count_epoch_steps(settings, len(rows.train))
    steps = total_steps(settings, epoch_steps)
    result.notes += schedule_notes(settings, steps, epoch_steps)

    # The method, inserted into the backbone
    start = None if settings.init_from is None else read_start(settings.init_from, model)
    insert(settings, result, model, reversible=share or held_out is not None)
    if start is not None:
        result.notes += begin_from(model, *start)
    fingerprint = Adapter.of(model).config.backbone
    save_memory(settings, model, ranks)
    return Parts(backbone=backbone, rows=rows, steps=steps, fingerprint=fingerprint, held_out=held_out)


def prepare_process(settings: Run, result: Result, ranks: Ranks) -> None:
    """Set up memory, threads and random numbers of this process."""
    keep_freed_memory()
    if settings.trainer.threads is not None:
        torch.set_num_threads(settings.trainer.threads)
    elif ranks.size > 1:
        torch.set_num_threads(max(1, cpu_count() // ranks.local_size))
    result.provenance |= {"threads": torch.get_num_threads(), "devices": ranks.size}
    result.notes += bf16_notes(settings.trainer.precision, settings.trainer.accelerator)
    pl.seed_everything(settings.seed, verbose=False)


def insert(settings: Run, result: Result, model: PreTrainedModel, *, reversible: bool) -> None:
    """Insert the method into the model; record in ``result`` the backbone, what trains and which shape was fitted."""
    torch.manual_seed(settings.seed)  # the branches' start does not depend on what was drawn before
    branch_config, notes = insert_method(
        model, settings.method, counterparts=settings.backbone.factor_shapes, reversible=reversible
    )
    result.notes += notes
    result.provenance |= {"branch_config": branch_config, "method_defaults": method_defaults(settings.method)}
    result.provenance["update_rank"] = surgery.update_rank(model)
    with torch.random.fork_rng(devices=[]):  # a branch's dropout must not move what is drawn after
        result.provenance |= {"multiply_adds": multiply_adds(model), "launches": launches(model)}
    count = surgery.count(model)
    result.provenance["backbone"] = describe_backbone(model.config, parameters=count.backbone)
    result.trainable_params, result.trainable_percent = count.trainable, count.percent
    result.head_params = count.head or None


def save_memory(settings: Run, model: nn.Module, ranks: Ranks) -> None:
    """Apply the trainer's options for large backbones."""
    trainer = settings.trainer
    if trainer.frozen_in_bf16:
        train_in_fp32(model)
    if trainer.gradient_checkpointing:
        recompute_blocks(model)
    if trainer.strategy == "fsdp":
        shard_frozen(model, device=ranks.device)


def build_learner(settings: Run, parts: Parts, *, ranks: Ranks, **callbacks: Callable[[Learner], None]) -> Learner:
    optimizer = settings.optimizer
    plan = Plan(
        build_optimizer=build_optimizer(optimizer),
        build_schedule=partial(build_schedule, scheduler=settings.scheduler),
        warmup_steps=count_warmup_steps(optimizer, parts.steps),
        total_steps=parts.steps,
        gradient_clip=optimizer.gradient_clip,
        micro_batch_size=rows_at_once(settings, ranks),
        seed=settings.seed,
        patience=settings.trainer.patience,
        in_step=settings.trainer.strategy == "fsdp",
        compile=settings.trainer.compile,
    )
    model, family, rows = parts.backbone.model, parts.backbone.family, parts.rows
    return Learner(model, family, plan, evaluate_dev=rows.dev, evaluate_test=rows.test, ranks=ranks, **callbacks)


def rows_at_once(settings: Run, ranks: Ranks) -> int | None:
    """Rows of a rank in one forward pass; None: all of a step's."""
    if settings.trainer.accumulate_grad_batches == 1:
        return settings.micro_batch_size
    share = -(-settings.batch_size // ranks.size)
    return min(settings.micro_batch_size or share, share)


def conclude(result: Result, rows: Rows, learner: Learner, scores: dict[str, Any]) -> None:
    """Record a finished run's scores and times in ``result``."""
    assert learner.best is not None
    result.best_epoch, result.dev_curve, result.progress = learner.best["epoch"], learner.dev_curve, {}
    result.dev = packed(rows.dev.split, scores["dev"])
    result.test = packed(rows.test.split, scores["test"]) if "test" in scores else None
    train_s = learner.seconds["train"]
    result.times |= {**learner.seconds, "examples_per_s": learner.examples_seen / train_s if train_s else 0.0}
    result.status = "done"
    result.provenance["finished"] = now()
