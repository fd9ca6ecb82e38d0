"""The interface of a family of backbones: what it reads, its loss, its answers; and an architecture's names."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutputWithPast

from krona.messages import KronaError
from krona.tasks import Split, Task

Batch = dict[str, Tensor]
IGNORED = -100  # labels that no loss counts
CACHE = "cache" if "cache" in CausalLMOutputWithPast.__annotations__ else "past_key_values"  # the latter before 5.24


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Names of an architecture's parts, as patterns of `krona.surgery.targets`, by the words of methods.

    The words are T5's own names: ``q k v o`` are the linear layers of attention, ``wi*`` and ``wo`` those of the FFN,
    ``SelfAttention`` and ``DenseReluDense`` the two blocks, ``layer_norm`` the normalisations, ``lm_head`` the layer
    that writes words. A pattern ``a:b`` is the part of the model between the input of a and the output of b.

    head: modules that are new on each task. pooler: the module of the library's pooler, where its class has one that
    the checkpoint brings along. lost_positions: of the config's maximum, those that no token can have.
    """

    names: Mapping[str, Sequence[str]]
    head: Sequence[str] = ()
    pooler: str | None = None
    lost_positions: int = 0

    def fused(self, words: Sequence[str]) -> list[str]:
        """A line for each layer that is more than what the words ask for: one that is query, key and value in one."""
        of_layer: dict[str, list[str]] = {}
        for word in ("q", "k", "v"):
            for pattern in self.names.get(word, ()):
                of_layer.setdefault(pattern, []).append(word)
        lines = []
        for pattern, parts in of_layer.items():
            asked = [word for word in parts if word in words]
            if asked and asked != parts:
                lines.append(
                    f"{', '.join(parts)} are one layer of this backbone, {pattern}: what is meant for "
                    f"{' and '.join(asked)} is at all of it"
                )
        return lines


class Family(ABC):
    """How one kind of backbone reads a task's rows, is trained and answers."""

    auto: ClassVar[Any]  # transformers' class that loads it
    key: str  # names the form of its tokenised rows
    label_type: str = "int32"
    answer_follows: ClassVar[bool] = False  # the answer's tokens stand after the source's, in the same positions
    writes: ClassVar[bool] = True  # the answer is text, a label is tokens

    def __init__(self, task: Task, tokenizer: Any) -> None:
        self.task, self.tokenizer = task, tokenizer

    @abstractmethod
    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        """``input_ids`` (and what else the model reads) of some rows, cut to ``longest`` tokens if that is given."""

    @abstractmethod
    def label(self, target: str) -> list[Any]:
        """The numbers that a target is learned as."""

    @abstractmethod
    def collate(self, rows: Sequence[Mapping[str, Sequence[Any]]]) -> Batch:
        """Tokenised rows as padded tensors: ``input_ids`` and ``attention_mask`` (B, S), ``labels`` (B, T)."""

    def no_rows(self, batch: Batch) -> Batch:
        """A row without a label, like those of ``batch``: it passes through the model and has no gradient."""
        one = batch["input_ids"].new_ones(1, 1)
        return {"input_ids": one, "attention_mask": one, "labels": batch["labels"].new_full((1, 1), IGNORED)}

    @abstractmethod
    def inputs(self, model: Any, batch: Batch) -> dict[str, Any]:
        """What the model is called with to learn a batch."""

    @abstractmethod
    def summed_loss(self, model: Any, batch: Batch) -> Tensor:
        """The loss in fp32, summed over the labels of a batch."""

    @abstractmethod
    def answers(self, model: Any, batch: Batch, *, longest: int) -> list[str]:
        """The prediction for each row as text; ``longest``: tokens of the longest label."""

    @abstractmethod
    def predict_with_scores(
        self, model: Any, batch: Batch, targets: Sequence[str], *, longest: int
    ) -> tuple[list[str], Tensor]:
        """`answers`, and (B, targets) in fp32: the log-probability that the model gives each target as the answer."""

    def check_length(self, room: int | None, *, source: int, answer: int) -> None:
        """Raise KronaError where a source and its answer have more tokens than the model has positions."""
        needed = source + (answer if self.answer_follows else 0)
        if room is not None and needed > room:
            beside = f" and {answer} of the answer" if self.answer_follows else ""
            raise KronaError(
                f"max_source_length={source}{beside}: this backbone has {room} positions: "
                f"max_source_length={room - needed + source}"
            )

    def check_targets(self, targets: Sequence[str], *, source: str) -> None:
        """Raise KronaError for a label that the tokenizer does not reproduce: it could never be predicted."""
        for label in targets:
            back = self.tokenizer.decode(self.label(label), skip_special_tokens=True).strip()
            if back != label:
                raise KronaError(
                    f"the tokenizer of {source} can't write the label {label!r} of {self.task.name}: it comes back as "
                    f"{back!r}. Is its tokenizer.json (or spiece.model) there and whole? backbone.tokenizer=FOLDER "
                    "names another"
                )


@torch.no_grad()
def decode_greedily(
    step: Callable[[Tensor, Any], Any], ids: Tensor, *, eos: int, pad: int, steps: int, first: Any = None
) -> Tensor:
    """Return the most likely tokens, (B, at most ``steps``), after ``ids`` (B, S).

    A row that has ended is padded; decoding stops when all have. The tokens are those of
    ``model.generate(do_sample=False, num_beams=1)``, which takes 5 % longer for labels of a few tokens.

    Args:
        step: the model's output for new tokens and the cache of those before.
        first: the output for ``ids``, if it is known.
    """
    ended = torch.zeros_like(ids[:, :1], dtype=torch.bool)
    tokens: list[Tensor] = []
    cache = None
    for _ in range(steps):
        output = step(ids, cache) if first is None else first
        cache, first = output[CACHE], None
        ids = output.logits[:, -1:].argmax(-1).masked_fill(ended, pad)  # (B, 1)
        tokens.append(ids)
        ended = ended | (ids == eos)
        if bool(ended.all()):
            break
    return torch.cat(tokens, dim=1)


def truncation_arguments(longest: int | None) -> dict[str, Any]:
    """A tokenizer's arguments for sources of at most so many tokens; no warning about those that are not cut yet."""
    cut: dict[str, Any] = {"truncation": False} if longest is None else {"truncation": True, "max_length": longest}
    return {"verbose": False, **cut}


def padded_sources(rows: Sequence[Mapping[str, Sequence[Any]]], fill: int, *, left: bool = False) -> Batch:
    """``input_ids`` and ``attention_mask`` (B, longest source) of tokenised rows."""
    input_ids = padded([row["input_ids"] for row in rows], fill, left=left)
    mask = padding_mask([len(row["input_ids"]) for row in rows], input_ids.shape[1], left=left)
    return {"input_ids": input_ids, "attention_mask": mask}


def summed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """In fp32, over the labels that count: logits (..., classes), labels of the same shape without the last."""
    return nn.functional.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) in fp32: the log-probability of a text's tokens, logits (B, T, vocabulary), labels (T)."""
    of_tokens = logits.float().log_softmax(-1)
    return of_tokens.gather(-1, labels.expand(len(logits), -1)[..., None]).sum((-1, -2))


def padded(rows: Sequence[Sequence[Any]], fill: Any, *, left: bool = False, dtype: torch.dtype = torch.long) -> Tensor:
    """(B, longest row), filled at the right or at the left. Without rows: (0, 0)."""
    width = max(map(len, rows), default=0)
    fills = ([fill] * (width - len(row)) for row in rows)
    whole = [[*more, *row] if left else [*row, *more] for row, more in zip(rows, fills, strict=True)]
    return torch.tensor(whole, dtype=dtype).view(len(rows), width)


def padding_mask(lengths: Sequence[int], width: int, *, left: bool = False) -> Tensor:
    """(B, width): 1 at a row's own tokens, 0 at the padding."""
    places = torch.arange(width)
    own = torch.tensor(list(lengths))[:, None]
    return ((places >= width - own) if left else (places < own)).long()
