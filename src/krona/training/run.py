"""Execute one run: load the data and the backbone, insert the method, train, evaluate, and write the files."""

import csv
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TextIO

import pytorch_lightning as pl
import torch
from rich.console import Console
from transformers import PreTrainedModel

from krona import surgery
from krona.adapters.adapter_file import Adapter
from krona.adapters.find import Origin
from krona.backbones import load as backbones
from krona.backbones.checkpoint import describe_backbone
from krona.backbones.families import find_architecture, max_positions
from krona.backbones.families.architecture import get_pooling, has_pooled_head
from krona.backbones.insert_method import insert_method, method_defaults
from krona.backbones.load import shared_backbone
from krona.config.settings import RunSettings
from krona.messages import KronaError
from krona.random_streams import stream_seed
from krona.runs.claim import Claim
from krona.runs.description import record_departures
from krona.runs.folder import RunFolder
from krona.runs.predictions import label_words
from krona.runs.processes import stop_if_interrupted
from krona.runs.result import CHECKSUMS, Result, now, write_result
from krona.safe_files import Write, json_lines, write_text
from krona.surgery.operation_counts import added_costs
from krona.surgery.state import train_in_fp32
from krona.training.data import build_data, load_splits
from krona.training.devices import Ranks, configure_process, read_load, read_peak_memory, reset_peak_memory
from krona.training.evaluation import require_finite
from krona.training.learner import Learner
from krona.training.plan import Plan, read_initial
from krona.training.progress import Progress, Tracking, open_loggers
from krona.training.schedule import count_steps, schedule_notes
from krona.training.trainer import AfterEpoch, build_trainer

KEPT_BYTES = 500_000_000  # keep=auto saves the weights of full fine-tuning if they take fewer bytes


def train(
    plan: Plan,
    result: Result,
    ranks: Ranks,
    console: Console,
    *,
    claim: Claim | None = None,
    log: TextIO | None = None,
) -> None:
    """Train, choose the best epoch on dev, and score test once. Fill ``result`` and write the files of the run.

    Only rank 0 has a claim, and writes files and output. After each epoch, once the checkpoint and the result are
    written, `train` calls the ``epoch`` methods of `Progress` and `Tracking`, and then ``plan.after_epoch``.
    """
    settings = plan.settings
    with ExitStack() as opened:
        shown = Progress(console, log, shows_notes=plan.shows_notes, runs_left=plan.runs_left)
        progress = opened.enter_context(closing(shown))
        tracking = Tracking([])
        if claim is not None:
            progress.say("  ".join(filter(None, (plan.position, plan.run_id))))
            tracking = opened.enter_context(
                open_loggers(settings, result, plan.folder, say=lambda line: progress.say(plan.mask(line)))
            )
        began, load = time.perf_counter(), read_load()
        reset_peak_memory()
        learner = build_learner(plan, result, ranks)
        learner.after_backward = tracking.after_backward
        result.times["setup"] = time.perf_counter() - began
        progress.begin(settings, result, steps=learner.steps)
        _say_in_advance(progress, settings, learner.model)

        _fit(plan, result, learner, claim, progress, tracking)
        scored = _score_best_epoch(learner, result)

        train_s = learner.seconds["train"]
        result.times |= {**learner.seconds, "examples_per_s": learner.examples_seen / train_s if train_s else 0.0}
        result.times["total"] = learner.seconds_before + time.perf_counter() - began
        result.peak_memory = read_peak_memory()
        result.provenance["load"] = load + read_load()
        result.status = "done"
        result.provenance["finished"] = now()
        if claim is not None:
            result.provenance["mergeable"] = surgery.is_mergeable(learner.model)
            _write_end(plan.run_folder, claim, result, learner, scored)


def _say_in_advance(progress: Progress, settings: RunSettings, model: PreTrainedModel) -> None:
    """Print what a user should know before the training about weights that are not kept and about merged exports."""
    if not keeps_weights(settings, size := weight_bytes(model)):
        progress.say(
            f"  The run does not keep the trained weights ({size / 1e6:,.0f} MB, keep={settings.keep}), so krona "
            "predict and krona export will not work. To keep the weights, add keep=all."
        )
    if has_pooled_head(model.config):
        pooling, library = get_pooling(model.config), find_architecture(model).library_pooling
        progress.note(
            f"backbone.pooling={pooling} is a setting that can change the score more than the method does. To compare "
            f"it with the classifier of transformers, use krona train -m with backbone.pooling={pooling},{library}. A "
            f"merged export with {pooling} needs trust_remote_code=True."
        )


def _fit(
    plan: Plan, result: Result, learner: Learner, claim: Claim | None, progress: Progress, tracking: Tracking
) -> None:
    """Train the model, or continue from the run's checkpoint. Without training, score dev as epoch 0."""
    model, data, ranks = learner.model, learner.data, learner.ranks

    def end_epoch(learner: Learner) -> None:
        result.dev_curve = learner.dev_curve
        result.progress = {"epoch": len(learner.dev_curve), "step": learner.global_step, "steps": learner.steps.total}
        if claim is not None:
            write_metrics(plan.run_folder.metrics, result.dev_curve, claim.write)
            write_result(plan.folder, result, claim.write)
        progress.epoch(learner)
        tracking.epoch(learner)
        stop_if_interrupted()
        if plan.after_epoch is not None:
            plan.after_epoch(learner)

    callbacks = [progress, tracking, AfterEpoch(end_epoch)]
    trainer = build_trainer(plan, ranks, claim, callbacks, loggers=tracking.loggers)
    device = trainer.strategy.root_device
    checkpoint = _find_checkpoint(plan.run_folder, ranks)
    if checkpoint is None:  # if there is a checkpoint, it contains the prepared values
        learner.to(device)
        if not surgery.is_prepared(model):
            progress.say("  computing the initial values of the branches")
        learner.prepare()
    trains = learner.steps.total > 0 and bool(surgery.trainable_state(model))
    if trains:
        trainer.fit(learner, data.train, data.dev.batches, ckpt_path=checkpoint, weights_only=True)
    learner.to(device)  # Lightning moved the model to the CPU
    if not trains:
        trainer.strategy.precision_plugin.convert_module(learner)  # as trainer.fit does; bf16-true converts to bf16
        learner.record({"epoch": 0, "step": 0}, data.dev(model))


def _score_best_epoch(learner: Learner, result: Result) -> dict[str, dict[str, Any]]:
    """Load the weights of the best epoch, score test once, and record the scores.

    Returns:
        The scores and predictions by split, as `SplitEvaluation.score` returns them.
    """
    data, settings = learner.data, learner.settings
    best = learner.restore_best()
    require_finite(learner.model, lr=settings.optimizer.lr)
    scored = {"dev": best["dev"]}
    if settings.score_test:
        began = time.perf_counter()
        scored["test"] = data.test(learner.model)
        learner.seconds["evaluate"] += time.perf_counter() - began
    if (threshold := data.dev.choose_threshold(best["dev"])) is not None:
        result.provenance["threshold"] = threshold
        scored = {name: getattr(data, name).apply_threshold(threshold, score) for name, score in scored.items()}
    result.best_epoch, result.dev_curve = best["epoch"], learner.dev_curve
    for name, score in scored.items():
        setattr(result, name, {key: score[key] for key in ("score", "choice", "parts")})
    return scored


def build_learner(plan: Plan, result: Result, ranks: Ranks) -> Learner:
    """Load the data and the backbone, insert the method, and record facts about them in ``result``.

    The jobs of a multirun share the backbone and the rows (`krona.backbones.load`).
    """
    settings, trainer, share = plan.settings, plan.settings.trainer, plan.multirun
    result.notes += configure_process(trainer, ranks)
    result.provenance |= {
        "threads": torch.get_num_threads(),
        "devices": ranks.size,
        "scoring_precision": trainer.precision,
    }
    pl.seed_everything(stream_seed("process", settings.seed), verbose=False)

    # The backbone is loaded before `build_data`, because its tokenizer encodes the rows.
    splits = load_splits(settings, fingerprint=plan.data_fingerprint, keep=share)
    load = shared_backbone if share else backbones.load
    backbone = load(settings.backbone, settings.task, seed=settings.seed, bf16=trainer.frozen_in_bf16)
    model = backbone.model
    data = build_data(settings, result, splits, backbone, cache=plan.outputs / ".cache" / "tokens", ranks=ranks)
    steps = count_steps(settings, len(data.train))
    result.notes += schedule_notes(settings, steps)

    torch.manual_seed(stream_seed("branches", settings.seed))
    branch_config, notes = insert_method(
        model, settings.method, factor_shapes=settings.backbone.factor_shapes, reversible=share, steps=steps.total
    )
    result.notes += notes
    result.provenance |= {"branch_config": branch_config, "method_defaults": method_defaults(settings.method)}
    longest = {"source": settings.max_source_length, "answer": data.dev.max_label_tokens}
    backbone.family.check_length(max_positions(model.config), **longest, prompt=surgery.prompt_length(model))
    _describe_model(model, result)

    if trainer.frozen_in_bf16:  # before the initial weights are copied, because bf16 would round them
        train_in_fp32(model)
    adapter = Adapter.of(model)
    if (initial := read_initial(settings)) is not None:
        result.notes.append(initial.copy_into(model, adapter))
    if trainer.gradient_checkpointing:  # store only the input of each block, and recompute it in the backward pass
        model.activation_checkpointing_enable({"use_reentrant": False})
    learner = Learner(settings, backbone, data, steps, ranks=ranks)
    learner.fingerprint = adapter.config.backbone
    return learner


def _describe_model(model: PreTrainedModel, result: Result) -> None:
    """Record the numbers of parameters and operations, the ranks of the updates, and the departures from the paper."""
    described: Any = describe_backbone(model.config)
    count = surgery.count(model)
    result.trainable_params, result.trainable_percent = count.trainable, count.percent
    result.head_params = count.head or None
    result.provenance |= {
        "update_rank": surgery.update_rank(model),
        "backbone": described | {"parameters": count.backbone},
    }
    record_departures(result)
    with torch.random.fork_rng(devices=[]):  # dropout in a branch must not change the later random numbers
        costs: Any = added_costs(model)
        result.provenance |= costs


def _find_checkpoint(run: RunFolder, ranks: Ranks) -> Path | None:
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


def _write_end(
    run: RunFolder, claim: Claim, result: Result, learner: Learner, scored: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write the metrics, the predictions, the adapter and finally the result."""
    model, write, labels = learner.model, claim.write, label_words(result.config["task"]).values()
    write_metrics(run.metrics, result.dev_curve, write)  # the file of a killed run may lack the last epoch
    write_text(run.predictions, json_lines(_prediction_rows(learner, scored, labels)), write)
    if surgery.trainable_state(model) and keeps_weights(learner.settings, weight_bytes(model)):
        adapter = Adapter.of(model, notes=Origin.of_result(result).as_note(), backbone=learner.fingerprint)
        adapter.save(run.adapter, write=write)
    result.provenance[CHECKSUMS] = run.checksums()
    result.progress = {}  # kept until now, so that the result of an interrupted run contains the progress
    write_result(run.path, result, write)
    claim.remove(run.checkpoint)


def weight_bytes(model: PreTrainedModel) -> int:
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


def _prediction_rows(
    learner: Learner, scored: Mapping[str, Mapping[str, Any]], labels: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of predictions.jsonl: the id, source, target and prediction of each row of the splits.

    If the task has groups, the rows have the number of their group. If the probabilities of the labels are known, the
    rows have them, with null for a probability that is not a number. Rows of a user's own files also have the line and
    the values of the unused columns.
    """
    for name, score in scored.items():
        split = getattr(learner.data, name).split
        columns: dict[str, Sequence[Any]] = {
            "id": split.ids,
            "source": learner.family.texts(split),
            "target": split.targets,
            "prediction": score["predictions"],
        }
        if split.groups is not None:
            columns["group"] = [*map(str, split.groups)]
        if score["scores"] is not None:
            known = [[None if math.isnan(value) else value for value in row] for row in score["scores"]]
            columns["scores"] = [dict(zip(labels, row, strict=True)) for row in known]
        for values in zip(*columns.values(), strict=True):
            row = {"split": name, **dict(zip(columns, values, strict=True))}
            yield {**row, **split.others.get(row["id"], {})}
