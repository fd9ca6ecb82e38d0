"""Held-out text and the loss that a backbone was pretrained with on it, for a measure of what tuning forgets."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn

from krona.backbones.families import Family
from krona.backbones.families.decoder import Decoder
from krona.backbones.families.encoder_decoder import EncoderDecoder
from krona.messages import KronaError

SHIPPED = Path(__file__).with_name("held_out.txt")  # written by scripts/nano/sample_tasks.py
SHIPPED_NAME = "sample-world sentences"
MAX_LINES = 256  # of a user's file; they are evenly spaced
MAX_TOKENS = 128  # of a text
BATCH_SIZE = 16
EXTRA_IDS = 16  # T5's sentinels that are used
DENSITY = 0.15  # T5's share of corrupted tokens


@dataclass(frozen=True)
class HeldOut:
    """Tokenised rows, the name of their text and of the objective: ``span corruption`` or ``next token``."""

    rows: list[dict[str, list[int]]]
    text: str
    objective: str

    @property
    def tokens(self) -> int:
        """Labels that the loss is a mean over."""
        return sum(len(row["labels"]) for row in self.rows)


def held_out(family: Family, file: Path | None) -> HeldOut:
    """The rows of a text file (a text a line) or of the shipped text, tokenised for this backbone.

    Raises:
        KronaError: a backbone without a language-model head or without T5's sentinels, a file without text.
    """
    objective = objective_of(type(family))
    texts, name = (read_lines(SHIPPED), SHIPPED_NAME) if file is None else (_chosen_lines(file), file.name)
    rows = _corrupted(family, texts) if isinstance(family, EncoderDecoder) else _continued(family, texts)
    if not rows:
        raise KronaError(f"{name}: no line has two tokens, so there is no loss to measure")
    return HeldOut(rows, name, objective)


def objective_of(family: type[Family]) -> str:
    """The pretraining objective; a KronaError for a family that has none here."""
    if issubclass(family, EncoderDecoder):
        return "span corruption"
    if issubclass(family, Decoder):
        return "next token"
    raise KronaError(
        "trainer.measure_forgetting: this backbone is an encoder with a new classifier: it has no language-model head "
        "whose loss could be compared. Leave it at false"
    )


def require_file(file: Path) -> None:
    """Raise KronaError for a file that is not there."""
    if not file.is_file():
        raise KronaError(f"trainer.measure_forgetting={file} is no file; give a text file, a text a line, or true")


@torch.no_grad()
def loss(model: nn.Module, family: Family, text: HeldOut) -> float:
    """The mean loss per label token."""
    device = next(model.parameters()).device
    total = torch.zeros((), dtype=torch.float64)
    for rows in _batches(text.rows):
        batch = {name: values.to(device) for name, values in family.collate(rows).items()}
        total += family.summed_loss(model, batch).double().cpu()
    return float(total) / text.tokens


def _batches(rows: list[dict[str, list[int]]]) -> Iterator[list[dict[str, list[int]]]]:
    order = sorted(rows, key=lambda row: len(row["input_ids"]) + len(row["labels"]))
    for start in range(0, len(order), BATCH_SIZE):
        yield order[start : start + BATCH_SIZE]


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank. Raises KronaError where there are none to read."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise KronaError(
            f"{path} cannot be read: {error.strerror}. Give a text file with one passage a line."
        ) from error
    except UnicodeDecodeError as error:
        raise KronaError(f"{path} is not UTF-8 (byte {error.start}). Convert it first.") from None
    lines = [line for line in lines if line]
    if not lines:
        raise KronaError(f"{path} has no text. Give a file with one passage a line.")
    return lines


def _chosen_lines(file: Path) -> list[str]:
    require_file(file)
    lines = read_lines(file)
    count = min(len(lines), MAX_LINES)
    return [lines[at * len(lines) // count] for at in range(count)]


def corrupt(ids: list[int], sentinels: list[int], rng: Random, *, density: float = 0.2) -> tuple[list[int], list[int]]:
    """T5's span corruption of one text without its end of sequence: (source, target), both still without it.

    About `density` of the tokens go, in spans of one to four; each span leaves a sentinel.
    """
    source, target, at, span = list[int](), list[int](), 0, 0
    chance = density / 2.5 / (1.0 - density)  # 2.5: the mean length of a span
    while at < len(ids):
        if span < len(sentinels) and (rng.random() < chance or (span == 0 and at == len(ids) - 1)):
            length = rng.randint(1, 4)
            source.append(sentinels[span])
            target += [sentinels[span], *ids[at : at + length]]
            at, span = at + length, span + 1
            source += ids[at : at + 1]  # spans never touch
            at += 1
        else:
            source.append(ids[at])
            at += 1
    return source, target


def _corrupted(family: Any, texts: list[str]) -> list[dict[str, list[int]]]:
    """T5's task: the source with sentinels in the place of spans, the label the spans, each after its sentinel."""
    tokenizer = family.tokenizer
    known, end = tokenizer.get_vocab(), tokenizer.eos_token_id
    sentinels = [known[name] for i in range(EXTRA_IDS) if (name := f"<extra_id_{i}>") in known]
    if len(sentinels) < EXTRA_IDS:
        raise KronaError(
            "trainer.measure_forgetting: the backbone's tokenizer has no <extra_id_0> to <extra_id_15>, so it was not "
            "pretrained by T5's span corruption, and no other objective is known here. Leave it at false"
        )
    rows = []
    for index, ids in enumerate(tokenizer(texts, add_special_tokens=False)["input_ids"]):
        if len(ids) > 1:
            source, target = corrupt(ids[: MAX_TOKENS - 1], sentinels, Random(f"spans {index}"), density=DENSITY)
            rows.append({"input_ids": [*source, end], "labels": [*target, end]})
    return rows


def _continued(family: Any, texts: list[str]) -> list[dict[str, list[int]]]:
    """A language model's task: after the first token each next one; the family puts labels right behind the source."""
    found = [ids[:MAX_TOKENS] for ids in family.tokenizer(texts, verbose=False)["input_ids"]]
    return [{"input_ids": ids[:1], "labels": ids[1:]} for ids in found if len(ids) > 1]
