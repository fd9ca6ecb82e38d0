"""Pretrain a small T5 from scratch. krona's nano backbone was pretrained with this script.

The training data are generated text with corrupted spans, and generated tasks about such text (`corpus`). Training
stops after --steps or --minutes.

    python scripts/nano/pretrain.py FOLDER       # then: train.py backbone=local backbone.path=FOLDER
"""

import argparse
import csv
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

import corpus
from feed import make_batches
from vocabulary import train_tokenizer

Optimizers = list[torch.optim.Optimizer]
TOKENIZER_TEXTS = 30_000
LOG_EVERY = 100  # number of steps between two points of the loss curve
FINE_TUNING_DROPOUT = 0.02  # T5's 0.1 lowers the scores of such a narrow backbone by several points


# The sizes of the backbone. It is a T5 v1.0, with ReLU and tied embeddings. `d_kv` is `d_model / num_heads`.
SIZES = {
    "d_model": 192, "d_ff": 512, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 6, "vocab_size": 2048,
}  # fmt: skip


@dataclass(frozen=True)
class Schedule:
    """The length of the training and the learning rates.

    The learning rates rise during the warm-up. After that, they fall linearly to a twentieth of their highest value.
    """

    steps: int = 12_000
    minutes: float = 50.0
    batch_size: int = 64
    lr: float = 6e-3  # the learning rate of Muon
    embedding_lr: float = 5e-3  # the learning rate of AdamW
    warmup_steps: int = 200
    max_length: int = 64
    seed: int = 0


def pretrain(out: Path, plan: Schedule, sizes: Mapping[str, int] = MappingProxyType(SIZES)) -> None:
    """Pretrain a backbone of these sizes, and write it and its loss curve into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(out, sizes["vocab_size"])
    torch.manual_seed(plan.seed)
    model = T5ForConditionalGeneration(build_config(sizes, tokenizer, dropout=0.0)).train()
    model.set_attn_implementation("eager")  # faster than sdpa on a CPU for such short texts
    optimizers = make_optimizers(model, plan)
    batches = make_batches(tokenizer, batch_size=plan.batch_size, max_length=plan.max_length, seed=plan.seed)
    print(f"pretraining {sum(p.numel() for p in model.parameters()):,} parameters")
    began, step, minutes, losses = time.monotonic(), 0, 0.0, list[float]()
    curve: list[tuple[int, int, float]] = []  # the step, the seconds, and the mean loss since the last point
    while step < plan.steps and minutes < plan.minutes:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate(step, minutes, plan)
        losses.append(train_step(model, optimizers, next(batches)))
        step, minutes = step + 1, (time.monotonic() - began) / 60
        if step % LOG_EVERY == 0 or step == plan.steps:
            curve.append((step, round(60 * minutes), round(sum(losses) / len(losses), 4)))
            print(f"step {step}/{plan.steps}  {minutes:.1f} min  loss {curve[-1][2]:.4f}", flush=True)
            losses.clear()
    saved = T5ForConditionalGeneration(build_config(sizes, tokenizer, dropout=FINE_TUNING_DROPOUT))
    saved.load_state_dict(model.state_dict())
    saved.bfloat16().save_pretrained(out)  # needs half the space, and is loaded as float32
    with (out / "curve.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("step", "seconds", "loss"), *curve])
    print(f"saved {out} after {step} steps and {minutes:.1f} minutes")


def build_config(sizes: Mapping[str, int], tokenizer: T5Tokenizer, *, dropout: float) -> T5Config:
    values: dict[str, Any] = {**sizes, "vocab_size": len(tokenizer), "dropout_rate": dropout}
    values |= {"d_kv": sizes["d_model"] // sizes["num_heads"], "feed_forward_proj": "relu", "tie_word_embeddings": True}
    return T5Config(**values | {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0})


def make_optimizers(model: nn.Module, plan: Schedule) -> Optimizers:
    """Return two optimizers: Muon for the matrices inside the blocks, and AdamW for all other weights.

    Muon was compared with AdamW in trials of 600 steps. It reached the loss of AdamW after three quarters of the steps
    and in less time.
    """
    inner = {
        name: weight
        for name, weight in model.named_parameters()
        if weight.ndim == 2 and "shared" not in name and "relative_attention_bias" not in name
    }
    rest = [weight for name, weight in model.named_parameters() if name not in inner]
    # T5 does not scale its attention scores. Instead, the initial query weights are smaller by the factor sqrt(d_kv),
    # so their learning rate must be smaller too.
    queries = [weight for name, weight in inner.items() if name.endswith(".q.weight")]
    others = [weight for name, weight in inner.items() if not name.endswith(".q.weight")]
    muon: list[dict[str, Any]] = [{"params": others}, {"params": queries, "lr": plan.lr / 6}]
    optimizers: Optimizers = [
        torch.optim.Muon(muon, lr=plan.lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=plan.embedding_lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def rate(step: int, minutes: float, plan: Schedule) -> float:
    """Return the factor of the learning rates after this number of steps and minutes.

    After the warm-up it falls with the finished share of the steps or of the time, whichever share is larger.
    """
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    return max(0.05, 1.0 - max(step / plan.steps, minutes / plan.minutes))


def train_step(model: nn.Module, optimizers: Optimizers, batch: dict[str, torch.Tensor]) -> float:
    """Run one optimizer step, and return the loss before the step."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**batch).loss
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
    model.zero_grad(set_to_none=True)
    return float(loss.detach())


def _tokenizer(out: Path, size: int) -> T5Tokenizer:
    drawn = islice(corpus.examples(-1), TOKENIZER_TEXTS)
    texts = [item.source if item.target is None else f"{item.source} {item.target}" for item in drawn]
    tokenizer = train_tokenizer(texts, size=size)
    tokenizer.save_pretrained(out)
    return tokenizer


def main() -> None:
    """Read the command line and pretrain."""
    usual = Schedule()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="output folder")
    parser.add_argument("--steps", type=int, default=usual.steps, help="number of optimiser steps")
    parser.add_argument("--minutes", type=float, default=usual.minutes, help="time limit")
    parser.add_argument("--seed", type=int, default=usual.seed, help="random seed")
    given = parser.parse_args()
    pretrain(given.out, Schedule(steps=given.steps, minutes=given.minutes, seed=given.seed))


if __name__ == "__main__":
    main()
