"""Compute the pretraining loss on held-out text. Its rise during tuning measures how much a model forgets."""

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

Rows = list[dict[str, list[int]]]
SHIPPED = Path(__file__).with_name("held_out.txt")  # written by scripts/nano/sample_tasks.py
SHIPPED_NAME = "sample-world sentences"
MAX_LINES = 256  # the largest number of lines of a user's file that are used; they are evenly spaced in the file
MAX_TOKENS = 128  # the largest number of tokens of a text that are used
BATCH_SIZE = 16
EXTRA_IDS = 16  # the number of T5's sentinel tokens that are used
DENSITY = 0.15  # the share of corrupted tokens in T5's pretraining


@dataclass(frozen=True)
class HeldOut:
    """Held-out text as tokenised rows.

    Args:
        rows: the rows, with ``input_ids`` and ``labels``.
        text: the name of the text.
        objective: the pretraining objective, ``span corruption`` or ``next token``.
    """

    rows: Rows
    text: str
    objective: str

    @property
    def tokens(self) -> int:
        """The number of label tokens in all rows. The loss is the mean over these tokens."""
        return sum(len(row["labels"]) for row in self.rows)


def tokenise_held_out(family: Family, file: Path | None) -> HeldOut:
    """Tokenise held-out text for the pretraining objective of a backbone.

    Args:
        family: the family of the backbone, with its tokenizer.
        file: a text file with one passage per line. None means the text held_out.txt of this package.

    Raises:
        KronaError: the backbone has no language-model head, its tokenizer lacks T5's sentinels, or the file has no
            text.
    """
    objective = find_objective(type(family))
    texts, name = (read_lines(SHIPPED), SHIPPED_NAME) if file is None else (_sample_lines(file), file.name)
    rows = _corrupt_texts(family, texts) if isinstance(family, EncoderDecoder) else _continue_texts(family, texts)
    if not rows:
        raise KronaError(f"{name} has no line of at least two tokens, so no loss can be measured.")
    return HeldOut(rows, name, objective)


def find_objective(family: type[Family]) -> str:
    """Return the pretraining objective of a family, ``span corruption`` or ``next token``.

    Raises:
        KronaError: the family is `Encoder`. Its models have a classifier instead of a language-model head.
    """
    if issubclass(family, EncoderDecoder):
        return "span corruption"
    if issubclass(family, Decoder):
        return "next token"
    raise KronaError(
        "trainer.measure_forgetting is not possible for an encoder with a classifier, because it has no language-model "
        "head. Set trainer.measure_forgetting=false."
    )


def require_file(file: Path) -> None:
    """Raise KronaError if the file does not exist."""
    if not file.is_file():
        raise KronaError(
            f"trainer.measure_forgetting={file} is not a file. Use a text file with one passage per line, or true."
        )


@torch.no_grad()
def held_out_loss(model: nn.Module, family: Family, text: HeldOut) -> float:
    """Return the mean loss of a model over all label tokens of the held-out text."""
    device = next(model.parameters()).device
    total = torch.zeros((), dtype=torch.float64)
    for rows in _batches(text.rows):
        batch = {name: values.to(device) for name, values in family.collate(rows).items()}
        total += family.summed_loss(model, batch).double().cpu()
    return float(total) / text.tokens


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not blank.

    Raises:
        KronaError: the file cannot be read, is not UTF-8, or has only blank lines.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise KronaError(
            f"Could not read {path}: {error.strerror}. Use a text file with one passage per line."
        ) from error
    except UnicodeDecodeError as error:
        raise KronaError(f"{path} is not UTF-8 text (byte {error.start}). Convert the file to UTF-8.") from None
    lines = [line for line in lines if line]
    if not lines:
        raise KronaError(f"{path} has no text. Use a text file with one passage per line.")
    return lines


def corrupt(ids: list[int], sentinels: list[int], rng: Random, *, density: float = 0.2) -> tuple[list[int], list[int]]:
    """Apply T5's span corruption to a text, and return the source and the target.

    In the source, a sentinel replaces each removed span of one to four tokens. The target contains each sentinel,
    followed by the tokens that it replaces. Source and target have no end-of-sequence token.

    Args:
        sentinels: the ids of the sentinel tokens, in the order of their use.
        rng: the random generator that chooses the spans.
        density: the approximate share of removed tokens.
    """
    source, target, at, span = list[int](), list[int](), 0, 0
    chance = density / 2.5 / (1.0 - density)  # 2.5 is the mean length of the spans
    while at < len(ids):
        if span < len(sentinels) and (rng.random() < chance or (span == 0 and at == len(ids) - 1)):
            length = rng.randint(1, 4)
            source.append(sentinels[span])
            target += [sentinels[span], *ids[at : at + length]]
            at, span = at + length, span + 1
            source += ids[at : at + 1]  # so that at least one token is between two spans
            at += 1
        else:
            source.append(ids[at])
            at += 1
    return source, target


def _batches(rows: Rows) -> Iterator[Rows]:
    order = sorted(rows, key=lambda row: len(row["input_ids"]) + len(row["labels"]))
    for start in range(0, len(order), BATCH_SIZE):
        yield order[start : start + BATCH_SIZE]


def _sample_lines(file: Path) -> list[str]:
    require_file(file)
    lines = read_lines(file)
    count = min(len(lines), MAX_LINES)
    return [lines[at * len(lines) // count] for at in range(count)]


def _corrupt_texts(family: Any, texts: list[str]) -> Rows:
    tokenizer = family.tokenizer
    known, end = tokenizer.get_vocab(), tokenizer.eos_token_id
    sentinels = [known[name] for i in range(EXTRA_IDS) if (name := f"<extra_id_{i}>") in known]
    if len(sentinels) < EXTRA_IDS:
        raise KronaError(
            "trainer.measure_forgetting needs a tokenizer with T5's sentinels <extra_id_0> to <extra_id_15>. Set "
            "trainer.measure_forgetting=false."
        )
    rows = []
    for index, ids in enumerate(tokenizer(texts, add_special_tokens=False)["input_ids"]):
        if len(ids) > 1:
            source, target = corrupt(ids[: MAX_TOKENS - 1], sentinels, Random(f"spans {index}"), density=DENSITY)
            rows.append({"input_ids": [*source, end], "labels": [*target, end]})
    return rows


def _continue_texts(family: Any, texts: list[str]) -> Rows:
    """Return rows in which the source is the first token of a text and the label is the other tokens."""
    tokenised = [ids[:MAX_TOKENS] for ids in family.tokenizer(texts, verbose=False)["input_ids"]]
    return [{"input_ids": ids[:1], "labels": ids[1:]} for ids in tokenised if len(ids) > 1]
