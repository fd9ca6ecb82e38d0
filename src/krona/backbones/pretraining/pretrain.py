"""Pretraining of the nano backbone: a real T5 small enough for a repository, on generated text or a user's.

`pretrain(out)` trains tokenizer and model on `krona.backbones.pretraining.corpus` (span corruption and a mixture of
tasks); with `data_path` on the lines of a text file (span corruption alone). It stops at `steps` or `minutes`, and
resumes from its last checkpoint when it is started again.
"""

import csv
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

from krona.backbones.pretraining import corpus
from krona.backbones.pretraining.feed import draw_items, make_batches, read_lines
from krona.backbones.pretraining.vocabulary import train_tokenizer
from krona.files import write_whole
from krona.messages import KronaError
from krona.tasks import sample

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
    step, spent, curve = _resume(out, model, optimizers, say)
    batches = make_batches(
        tokenizer,
        batch_size=plan.batch_size,
        max_length=plan.max_length,
        seed=plan.seed,
        start=step,
        data_path=data_path,
    )
    say(f"pretraining {sum(p.numel() for p in model.parameters()):,} parameters from step {step}")
    since, losses = time.monotonic(), list[float]()
    while step < plan.steps and spent < plan.minutes * 60:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate(step, spent, plan)
        losses.append(train_step(model, optimizers, next(batches), precision))
        step += 1
        now = time.monotonic()
        spent, since = spent + now - since, now
        if step % log_every == 0 or step == plan.steps:
            curve.append((step, round(spent), round(sum(losses) / len(losses), 4)))
            say(f"step {step}/{plan.steps}  {spent / 60:.1f} min  loss {curve[-1][2]:.4f}")
            losses.clear()
        if step % checkpoint_every == 0:
            _save_checkpoint(out, model, optimizers, step, spent, curve)
    _save(out, model, tokenizer, shape)
    _write_record(out, plan, shape, curve, step=step, spent=spent, data_path=data_path)
    (out / CHECKPOINT).unlink(missing_ok=True)
    say(f"saved {out} after {step} steps and {spent / 60:.1f} minutes")
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


def rate(step: int, spent: float, plan: Schedule) -> float:
    """Share of the learning rate; it falls with steps or with time, whichever is further on."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    done = max(step / plan.steps, spent / (plan.minutes * 60))
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
        texts = [f"{i.source} {i.target}" if isinstance(i, corpus.Example) else i.text for i in drawn]
    else:
        texts = read_lines(data_path)
    tokenizer = train_tokenizer(texts, size=size)
    tokenizer.save_pretrained(out)
    return tokenizer


def _save_checkpoint(
    out: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], step: int, spent: float, curve: list[Any]
) -> None:
    states = {"model": model.state_dict(), "optimizers": [optimizer.state_dict() for optimizer in optimizers]}
    write_whole(out / CHECKPOINT, partial(torch.save, {**states, "step": step, "spent": spent, "curve": curve}))


def _resume(
    out: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], say: Callable[[str], None]
) -> tuple[int, float, list[tuple[int, int, float]]]:
    path = out / CHECKPOINT
    if not path.exists():
        return 0, 0.0, []
    state = torch.load(path, weights_only=True)
    try:
        model.load_state_dict(state["model"])
    except RuntimeError:
        raise KronaError(f"{path} is of other sizes; remove it to start again") from None
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    say(f"resuming from {path}")
    return state["step"], state["spent"], [tuple(row) for row in state["curve"]]


def _save(out: Path, model: T5ForConditionalGeneration, tokenizer: T5Tokenizer, sizes: Sizes) -> None:
    saved = T5ForConditionalGeneration(config_of(sizes, tokenizer, dropout=FINE_TUNING_DROPOUT))
    saved.load_state_dict(model.state_dict())
    saved.bfloat16().save_pretrained(out)  # half the bytes; loaded as float32
    tokenizer.save_pretrained(out)


def _write_record(
    out: Path, plan: Schedule, sizes: Sizes, curve: list[tuple[int, int, float]], *, step: int, spent: float,
    data_path: Path | None,
) -> None:  # fmt: skip
    with (out / "curve.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("step", "seconds", "loss"), *curve])
    lines = [
        "# A nano T5",
        f"Made by `krona pretrain`: {step} steps of {plan.batch_size} in {spent / 60:.0f} minutes, seed {plan.seed}; "
        f"last loss {curve[-1][2] if curve else float('nan')}, the whole curve is in curve.csv.",
        _seen(data_path),
        f"Recipe: `{asdict(plan)}`.",
        f"Sizes: `{asdict(sizes)}`.",
    ]
    (out / "README.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def _seen(data_path: Path | None) -> str:
    """What the backbone has seen, for its README."""
    if data_path is not None:
        return f"It saw the lines of `{data_path}`, with spans left out."
    shares = (f"{make.__name__} {weight}" for make, weight in zip(corpus.MAKERS, corpus.WEIGHTS, strict=True))
    return (
        "It saw text of the sample world with spans left out, and tasks on it, by "
        f"`krona.backbones.pretraining.corpus` (of {sum(corpus.WEIGHTS)}: {', '.join(shares)}). "
        "Held out: every text and pair of the sample tasks "
        f"(`{sample.FINGERPRINT}`), GLUE's templates, and the labels as words."
    )
