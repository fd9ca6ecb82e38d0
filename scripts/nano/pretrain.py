"""Pretrain a small T5 from scratch, as the nano backbone was.

The data are generated text with spans left out and tasks on it (`corpus`); with --data-path, the lines of a text file
with spans left out. Training stops after --steps or --minutes. After an interruption the same command resumes.

    python scripts/nano/pretrain.py FOLDER       # then: train.py backbone=local backbone.path=FOLDER
"""

import argparse
import csv
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

import corpus
from feed import draw_items, make_batches
from krona.backbones.held_out import read_lines
from krona.files import write_whole
from krona.messages import KronaError
from krona.tasks.sample import FINGERPRINT
from vocabulary import train_tokenizer

CHECKPOINT = "pretrain.ckpt"
TOKENIZER_TEXTS = 30_000
FINE_TUNING_DROPOUT = 0.02  # T5's 0.1 costs a backbone as narrow as this one several points


@dataclass(frozen=True)
class Sizes:
    """Shape of the backbone (T5 v1.0: ReLU, tied embeddings); `num_heads * d_kv` is `d_model`."""

    d_model: int = 192
    d_ff: int = 512
    num_layers: int = 3
    num_decoder_layers: int = 2
    num_heads: int = 6
    vocab_size: int = 2048


@dataclass(frozen=True)
class Schedule:
    """Length and learning rates of a pretraining. The rates warm up, then fall linearly to a twentieth."""

    steps: int = 12_000
    minutes: float = 50.0
    batch_size: int = 64
    lr: float = 6e-3  # of Muon
    embedding_lr: float = 5e-3  # of AdamW
    warmup_steps: int = 200
    max_length: int = 64
    seed: int = 0


@dataclass
class Progress:
    """What is done: optimiser steps, seconds, and (step, seconds, mean loss) at each line of the log."""

    step: int = 0
    spent: float = 0.0
    curve: list[tuple[int, int, float]] = field(default_factory=list)

    @property
    def minutes(self) -> float:
        return self.spent / 60


def pretrain(
    out: Path,
    *,
    data_path: Path | None = None,
    schedule: Schedule | None = None,
    sizes: Sizes | None = None,
    precision: str = "bf16",
    checkpoint_every: int = 500,
    log_every: int = 100,
    say: Callable[[str], None] = print,
) -> Path:
    """Train a backbone into the folder `out` and return it.

    Raises `KronaError` for a text that cannot be read or a checkpoint of another model.
    """
    plan, shape = schedule or Schedule(), sizes or Sizes()
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(out, data_path, shape.vocab_size)
    torch.manual_seed(plan.seed)
    model = T5ForConditionalGeneration(config_of(shape, tokenizer, dropout=0.0)).train()
    model.set_attn_implementation("eager")  # at these lengths faster than sdpa on a CPU
    optimizers = make_optimizers(model, plan)
    progress = _resume(out / CHECKPOINT, model, optimizers)
    batches = make_batches(
        tokenizer,
        batch_size=plan.batch_size,
        max_length=plan.max_length,
        seed=plan.seed,
        start=progress.step,
        data_path=data_path,
    )
    say(f"pretraining {sum(p.numel() for p in model.parameters()):,} parameters from step {progress.step}")
    since, losses = time.monotonic(), list[float]()
    while progress.step < plan.steps and progress.minutes < plan.minutes:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate(progress, plan)
        losses.append(train_step(model, optimizers, next(batches), precision))
        progress.step += 1
        now = time.monotonic()
        progress.spent, since = progress.spent + now - since, now
        if progress.step % log_every == 0 or progress.step == plan.steps:
            progress.curve.append((progress.step, round(progress.spent), round(sum(losses) / len(losses), 4)))
            say(f"step {progress.step}/{plan.steps}  {progress.minutes:.1f} min  loss {progress.curve[-1][2]:.4f}")
            losses.clear()
        if progress.step % checkpoint_every == 0:
            _save_checkpoint(out / CHECKPOINT, model, optimizers, progress)
    saved = T5ForConditionalGeneration(config_of(shape, tokenizer, dropout=FINE_TUNING_DROPOUT))
    saved.load_state_dict(model.state_dict())
    saved.bfloat16().save_pretrained(out)  # half the bytes; loaded as float32
    with (out / "curve.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("step", "seconds", "loss"), *progress.curve])
    (out / "README.md").write_text(_readme(plan, shape, progress, data_path), encoding="utf-8")
    (out / CHECKPOINT).unlink(missing_ok=True)
    say(f"saved {out} after {progress.step} steps and {progress.minutes:.1f} minutes")
    return out


def config_of(sizes: Sizes, tokenizer: T5Tokenizer, *, dropout: float) -> T5Config:
    values: dict[str, Any] = {**asdict(sizes), "vocab_size": len(tokenizer), "dropout_rate": dropout}
    values |= {"d_kv": sizes.d_model // sizes.num_heads, "feed_forward_proj": "relu", "tie_word_embeddings": True}
    ids: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return T5Config(**values, **ids)


def make_optimizers(model: nn.Module, plan: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for the rest.

    Tried here, 600 steps each: Muon reached AdamW's loss in three quarters of the steps and somewhat less time.
    """
    inner = {
        name: weight
        for name, weight in model.named_parameters()
        if weight.ndim == 2 and "shared" not in name and "relative_attention_bias" not in name
    }
    rest = [weight for name, weight in model.named_parameters() if name not in inner]
    # T5 does not scale its attention: queries start smaller by sqrt(d_kv), and so must their steps be
    queries = [weight for name, weight in inner.items() if name.endswith(".q.weight")]
    others = [weight for name, weight in inner.items() if not name.endswith(".q.weight")]
    muon: list[dict[str, Any]] = [{"params": others}, {"params": queries, "lr": plan.lr / 6}]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(muon, lr=plan.lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=plan.embedding_lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def rate(progress: Progress, plan: Schedule) -> float:
    """Share of the learning rate; it falls with steps or with time, whichever is further on."""
    if progress.step < plan.warmup_steps:
        return (progress.step + 1) / plan.warmup_steps
    done = max(progress.step / plan.steps, progress.minutes / plan.minutes)
    return max(0.05, 1.0 - done)


def train_step(
    model: nn.Module, optimizers: list[torch.optim.Optimizer], batch: dict[str, torch.Tensor], precision: str
) -> float:
    """One step; the loss before it."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = model(**batch).loss
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
    model.zero_grad(set_to_none=True)
    return float(loss.detach())


def _tokenizer(out: Path, data_path: Path | None, size: int) -> T5Tokenizer:
    if (out / CHECKPOINT).exists():  # a resumed pretraining keeps its vocabulary
        kept: T5Tokenizer = T5Tokenizer.from_pretrained(out)
        return kept
    if data_path is None:
        drawn = islice(draw_items(None, -1), TOKENIZER_TEXTS)
        texts = [item.source if item.target is None else f"{item.source} {item.target}" for item in drawn]
    else:
        texts = read_lines(data_path)
    tokenizer = train_tokenizer(texts, size=size)
    tokenizer.save_pretrained(out)
    return tokenizer


def _save_checkpoint(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], progress: Progress) -> None:
    states = {"model": model.state_dict(), "optimizers": [optimizer.state_dict() for optimizer in optimizers]}
    write_whole(path, partial(torch.save, states | asdict(progress)))


def _resume(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> Progress:
    if not path.exists():
        return Progress()
    state = torch.load(path, weights_only=True)
    try:
        model.load_state_dict(state["model"])
    except RuntimeError:
        raise KronaError(f"{path} is of other sizes. Remove it to start again.") from None
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return Progress(state["step"], state["spent"], [tuple(row) for row in state["curve"]])


def _readme(plan: Schedule, sizes: Sizes, progress: Progress, data_path: Path | None) -> str:
    shares = (f"{make.__name__} {weight}" for make, weight in zip(corpus.MAKERS, corpus.WEIGHTS, strict=True))
    generated = (
        "It saw text of the sample world with spans left out, and tasks on it, by `scripts/nano/corpus.py` "
        f"(of {sum(corpus.WEIGHTS)}: {', '.join(shares)}). Held out: every text and pair of the sample tasks "
        f"(`{FINGERPRINT}`), GLUE's templates, and the labels as words."
    )
    loss = progress.curve[-1][2] if progress.curve else float("nan")
    lines = [
        "# A nano T5",
        f"Made by `scripts/nano/pretrain.py`: {progress.step} steps of {plan.batch_size} in {progress.minutes:.0f} "
        f"minutes, seed {plan.seed}; last loss {loss}, the whole curve is in curve.csv.",
        generated if data_path is None else f"It saw the lines of `{data_path}`, with spans left out.",
        f"Recipe: `{asdict(plan)}`.",
        f"Sizes: `{asdict(sizes)}`.",
    ]
    return "\n\n".join(lines) + "\n"


def main() -> None:
    """Read the command line and pretrain; wrong input gives one message and exit code 1."""
    usual = Schedule()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="output folder")
    parser.add_argument("--data-path", type=Path, help="a text file to train on, one passage a line")
    parser.add_argument("--steps", type=int, default=usual.steps, help="number of optimiser steps")
    parser.add_argument("--minutes", type=float, default=usual.minutes, help="time limit")
    parser.add_argument("--seed", type=int, default=usual.seed, help="random seed")
    given = parser.parse_args()
    schedule = Schedule(steps=given.steps, minutes=given.minutes, seed=given.seed)
    try:
        pretrain(given.out, data_path=given.data_path, schedule=schedule)
    except KronaError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
