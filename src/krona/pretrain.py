"""Pretraining of the nano backbone: a real T5 small enough for a repository, on generated text or a user's.

`pretrain(out)` trains tokenizer and model on `krona.corpus` (span corruption and a mixture of tasks); with
`data_path` on the lines of a text file (span corruption alone). It stops at `steps` or `minutes`, writes a checkpoint
as it goes and takes it up again when it is started anew.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

from krona import corpus, sample
from krona.errors import KronaError
from krona.vocabulary import EXTRA_IDS, corrupt, train_tokenizer

CHECKPOINT = "pretrain.ckpt"
TOKENIZER_TEXTS = 30_000


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
    """Length and learning rate of a pretraining. The rate warms up, then falls in a line to a twentieth."""

    steps: int = 10_000
    minutes: float = 50.0
    batch_size: int = 128
    lr: float = 2e-3
    warmup_steps: int = 300
    max_length: int = 64
    seed: int = 0


Pair = tuple[list[int], list[int]]  # ids of source and target, ends of sequence included


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
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    step, spent, curve = _resume(out, model, optimizer, say)
    batches = make_batches(tokenizer, plan, data_path=data_path, start=step)
    say(f"pretraining {sum(p.numel() for p in model.parameters()):,} parameters from step {step}")
    since, losses = time.monotonic(), list[float]()
    while step < plan.steps and spent < plan.minutes * 60:
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * rate(step, spent, plan)
        losses.append(train_step(model, optimizer, next(batches), precision))
        step += 1
        now = time.monotonic()
        spent, since = spent + now - since, now
        if step % log_every == 0 or step == plan.steps:
            curve.append((step, round(spent), round(sum(losses) / len(losses), 4)))
            say(f"step {step}/{plan.steps}  {spent / 60:.1f} min  loss {curve[-1][2]:.4f}")
            losses.clear()
        if step % checkpoint_every == 0:
            _save_checkpoint(out, model, optimizer, step, spent, curve)
    _save(out, model, tokenizer, shape)
    _write_record(out, plan, shape, curve, step=step, spent=spent, data_path=data_path)
    (out / CHECKPOINT).unlink(missing_ok=True)
    say(f"saved {out} after {step} steps and {spent / 60:.1f} minutes")
    return out


def config_of(sizes: Sizes, tokenizer: T5Tokenizer, *, dropout: float) -> T5Config:
    """The transformers config of these sizes."""
    values: dict[str, Any] = {**asdict(sizes), "vocab_size": len(tokenizer), "dropout_rate": dropout}
    values |= {"d_kv": sizes.d_model // sizes.num_heads, "feed_forward_proj": "relu", "tie_word_embeddings": True}
    values |= {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return T5Config(**values)


def rate(step: int, spent: float, plan: Schedule) -> float:
    """Share of the learning rate; whichever of steps and time is further on decides how far it has fallen."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    done = max(step / plan.steps, spent / (plan.minutes * 60))
    return max(0.05, 1.0 - done)


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor], precision: str
) -> float:
    """One step; the loss before it."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = model(**batch).loss
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def make_batches(
    tokenizer: T5Tokenizer, plan: Schedule, *, data_path: Path | None, start: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches from step `start` on. Examples of one length go together: 16 batches are drawn and sorted at a time."""
    window = 16
    block = start // window
    items = _items(data_path, plan.seed, start=block * window * plan.batch_size)
    while True:
        drawn = list(islice(items, window * plan.batch_size))
        rng = Random(f"batches {plan.seed} {block}")
        coded = sorted(encode(drawn, tokenizer, rng, plan.max_length), key=lambda p: (len(p[1]) > 6, len(p[0])))
        order = list(range(window))
        rng.shuffle(order)
        for place in order[start - block * window :] if block == start // window else order:
            yield collate(coded[place * plan.batch_size : (place + 1) * plan.batch_size])
        block += 1


def encode(
    items: list[corpus.Example | corpus.Document], tokenizer: T5Tokenizer, rng: Random, max_length: int
) -> list[Pair]:
    """Token ids of sources and targets; documents are corrupted here."""
    end = tokenizer.eos_token_id
    sentinels = [tokenizer.get_vocab()[f"<extra_id_{i}>"] for i in range(EXTRA_IDS)]
    texts = [item.text if isinstance(item, corpus.Document) else item.source for item in items]
    targets = [item.target if isinstance(item, corpus.Example) else "" for item in items]
    sources: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    answers: list[list[int]] = tokenizer(targets, add_special_tokens=False)["input_ids"]
    pairs: list[Pair] = []
    for item, source, target in zip(items, sources, answers, strict=True):
        ids = source[: max_length - 1]
        if isinstance(item, corpus.Document):
            ids, target = corrupt(ids, sentinels, rng)
        pairs.append(([*ids, end], [*target, end]))
    return pairs


def collate(pairs: list[Pair]) -> dict[str, torch.Tensor]:
    """input_ids and attention_mask (B, S), labels (B, T) with -100 where there is none."""
    sources, labels = (nn.utils.rnn.pad_sequence(
        [torch.tensor(pair[side]) for pair in pairs], batch_first=True, padding_value=(0, -100)[side]
    ) for side in (0, 1))  # fmt: skip
    return {"input_ids": sources, "attention_mask": (sources != 0).long(), "labels": labels}


def _items(data_path: Path | None, seed: int, *, start: int) -> Iterator[corpus.Example | corpus.Document]:
    if data_path is None:
        yield from corpus.examples(seed, start=start)
    lines = _lines(data_path) if data_path else []
    for index in range(start, 1 << 62):
        text = Random(f"line {seed} {index}").choice(lines)
        yield corpus.Document(text, (text,))


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise KronaError(f"data.path={path} is no file; give a text file, one passage a line")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise KronaError(f"{path} is not UTF-8 (byte {error.start}); convert it first") from None
    lines = [line for line in lines if line]
    if not lines:
        raise KronaError(f"{path} has no text; give a file with one passage a line")
    return lines


def _tokenizer(out: Path, data_path: Path | None, size: int) -> T5Tokenizer:
    if (out / CHECKPOINT).exists():  # a pretraining that goes on keeps its vocabulary
        kept: T5Tokenizer = T5Tokenizer.from_pretrained(out)
        return kept
    if data_path is None:
        drawn = islice(corpus.examples(-1), TOKENIZER_TEXTS)
        texts = [f"{i.source} {i.target}" if isinstance(i, corpus.Example) else i.text for i in drawn]
    else:
        texts = _lines(data_path)
    tokenizer = train_tokenizer(texts, size=size)
    tokenizer.save_pretrained(out)
    return tokenizer


def _save_checkpoint(
    out: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, spent: float, curve: list[Any]
) -> None:
    state = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": spent, "curve": curve,
    }  # fmt: skip
    part = out / f"{CHECKPOINT}.part"
    torch.save(state, part)
    os.replace(part, out / CHECKPOINT)


def _resume(
    out: Path, model: nn.Module, optimizer: torch.optim.Optimizer, say: Callable[[str], None]
) -> tuple[int, float, list[tuple[int, int, float]]]:
    path = out / CHECKPOINT
    if not path.exists():
        return 0, 0.0, []
    state = torch.load(path, weights_only=True)
    try:
        model.load_state_dict(state["model"])
    except RuntimeError:
        raise KronaError(f"{path} is of other sizes; remove it to start anew") from None
    optimizer.load_state_dict(state["optimizer"])
    say(f"going on from {path}")
    return state["step"], state["spent"], [tuple(row) for row in state["curve"]]


def _save(out: Path, model: T5ForConditionalGeneration, tokenizer: T5Tokenizer, sizes: Sizes) -> None:
    saved = T5ForConditionalGeneration(config_of(sizes, tokenizer, dropout=0.1))
    saved.load_state_dict(model.state_dict())
    saved.bfloat16().save_pretrained(out)  # half the bytes; loaded as float32
    tokenizer.save_pretrained(out)


def _write_record(
    out: Path, plan: Schedule, sizes: Sizes, curve: list[tuple[int, int, float]], *, step: int, spent: float,
    data_path: Path | None,
) -> None:  # fmt: skip
    with (out / "curve.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("step", "seconds", "loss"), *curve])
    seen = f"`{data_path}`" if data_path else f"`krona.corpus`, away from the sample tasks `{sample.FINGERPRINT}`"
    lines = [
        "# A nano T5", "",
        f"Made by `krona pretrain`: {step} steps of {plan.batch_size} in {spent / 60:.0f} minutes, seed {plan.seed}.",
        f"It saw {seen}. Last loss {curve[-1][2] if curve else float('nan')}; the whole curve is in curve.csv.", "",
        f"Recipe: `{asdict(plan)}`.", "", f"Sizes: `{asdict(sizes)}`.",
    ]  # fmt: skip
    (out / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
