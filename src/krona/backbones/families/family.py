"""The interface of a family of backbones: how a row becomes the model's input, the loss, and the predictions."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from krona.backbones.families.loss import sum_cross_entropy
from krona.backbones.families.padding import IGNORED, Batch, pad_batch
from krona.messages import KronaError
from krona.tasks import Split, Task


class Family(ABC):
    """A kind of backbone. The defaults are those of families that write their answers as text."""

    auto: ClassVar[Any]  # the class of transformers that loads it
    key: str  # of the token cache: names the form of the tokenised rows
    label_type: str = "int32"
    answer_follows: ClassVar[bool] = False  # the answer's tokens follow the source's, in the same positions
    writes: ClassVar[bool] = True  # the answer is text and a label is its tokens

    def __init__(self, task: Task, tokenizer: Any) -> None:
        self.task, self.tokenizer = task, tokenizer

    @abstractmethod
    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        """Return ``input_ids`` and the model's other inputs for some rows, cut to ``longest`` tokens if given."""

    @abstractmethod
    def label(self, target: str) -> list[Any]:
        """Return the numbers that represent a target in training."""

    def collate(self, rows: Sequence[Mapping[str, Sequence[Any]]]) -> Batch:
        """Return tokenised rows as padded tensors: ``input_ids``, ``attention_mask`` (B, S) and ``labels`` (B, T)."""
        return pad_batch(rows, self.tokenizer.pad_token_id)

    def no_rows(self, batch: Batch) -> Batch:
        """Return one row without a label, on the device of ``batch``. It has no gradient."""
        one = batch["input_ids"].new_ones(1, 1)
        return {"input_ids": one, "attention_mask": one, "labels": batch["labels"].new_full((1, 1), IGNORED)}

    @abstractmethod
    def inputs(self, model: Any, batch: Batch) -> dict[str, Any]:
        """Return the arguments of the model's forward pass in training."""

    def logits(self, model: Any, batch: Batch) -> Tensor:
        """Return the model's output for the labels of a batch, (..., classes)."""
        logits: Tensor = model(**self.inputs(model, batch)).logits
        return logits

    def summed_loss(self, model: Any, batch: Batch) -> Tensor:
        """Return the cross entropy in fp32, summed over the labels of a batch."""
        return sum_cross_entropy(self.logits(model, batch), batch["labels"])

    @abstractmethod
    def answers(self, model: Any, batch: Batch, *, longest: int) -> list[str]:
        """Return the predicted text of each row. ``longest``: tokens of the longest label."""

    @abstractmethod
    def predict_with_scores(
        self, model: Any, batch: Batch, targets: Sequence[str], *, longest: int
    ) -> tuple[list[str], Tensor]:
        """Return `answers` and the log-probability of each target as the answer, (B, targets) in fp32."""

    def decode_labels(self, ids: Tensor) -> list[str]:
        """Return token ids (B, T) as text."""
        return list(self.tokenizer.batch_decode(ids, skip_special_tokens=True))

    def check_length(self, room: int | None, *, source: int, answer: int) -> None:
        """Raise KronaError if ``source`` and ``answer`` tokens exceed the model's ``room`` positions."""
        needed = source + (answer if self.answer_follows else 0)
        if room is not None and needed > room:
            beside = f" and {answer} of the answer" if self.answer_follows else ""
            raise KronaError(
                f"max_source_length={source}{beside}: this backbone has {room} positions. Set "
                f"max_source_length={room - needed + source}."
            )

    def check_targets(self, targets: Sequence[str], *, source: str) -> None:
        """Raise KronaError for a label that the tokenizer does not reproduce: it could never be predicted."""
        for label in targets:
            text = self.tokenizer.decode(self.label(label), skip_special_tokens=True).strip()
            if text != label:
                raise KronaError(
                    f"The tokenizer of {source} turns the label {label!r} of {self.task.name} into {text!r}. Check "
                    "that its tokenizer.json (or spiece.model) is complete, or set backbone.tokenizer=FOLDER."
                )


def truncation_arguments(longest: int | None) -> dict[str, Any]:
    """Return a tokenizer's arguments that cut sources to ``longest`` tokens, if given, and silence its warning."""
    cut: dict[str, Any] = {"truncation": False} if longest is None else {"truncation": True, "max_length": longest}
    return {"verbose": False, **cut}
