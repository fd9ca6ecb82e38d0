"""The base class of backbone families. A family builds inputs from rows, and computes losses and predictions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from transformers.modeling_outputs import CausalLMOutputWithPast

from krona.messages import KronaError
from krona.metrics.scores import need_scores
from krona.tasks import Split, Task

Batch = dict[str, Tensor]
IGNORED = -100  # the label that the loss ignores; its bits, read as float32, are NaN
# The name of the cache in the arguments and outputs of models. transformers 5.24 changed this name.
CACHE = "cache" if "cache" in CausalLMOutputWithPast.__annotations__ else "past_key_values"


class Family(ABC):
    """The base class of a backbone family. The default methods are for models that generate text."""

    auto: ClassVar[Any]  # the transformers Auto class that loads the model
    key: str  # identifies the format of the tokenised rows in the keys of the token cache
    label_type: str = "int32"
    answer_follows: ClassVar[bool] = False  # whether source and answer are one sequence, so that both need positions
    generates_text: ClassVar[bool] = True  # whether the model generates its answer as text
    # Runs score all labels of a task with at most this number of labels, because each label takes time.
    scored_labels: ClassVar[int] = 10

    multilabel: bool = False  # whether a row can have several labels

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerBase) -> None:
        self.task, self.tokenizer = task, tokenizer
        self.multilabel = task is not None and task.is_multilabel

    @classmethod
    def check_metrics(cls, task: Task) -> None:
        """Check that the backbone's predictions have the probabilities that the task's metrics need.

        Raises:
            KronaError: a metric needs the probability of each label, but the backbone generates all labels as one text.
        """
        if task.is_multilabel and cls.generates_text and (metrics := need_scores(task.metrics)):
            raise KronaError(
                f"task {task.name}: the metric '{metrics[0]}' needs the probability of each label. A backbone that "
                "generates several labels as one text has no such probabilities. Use an encoder, or another metric."
            )

    def tokenize(self, *texts: list[str], longest: int | None, **more: bool) -> Mapping[str, list[list[int]]]:
        """Return the tokenizer's output for texts or pairs of texts, truncated to ``longest`` tokens (if given)."""
        cut = {} if longest is None else {"truncation": True, "max_length": longest}
        tokens: Mapping[str, list[list[int]]] = self.tokenizer(*texts, verbose=False, **cut, **more)
        return tokens

    @abstractmethod
    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        """Tokenise the sources of rows, and truncate each source to ``longest`` tokens.

        The result maps the name of a model input, such as ``input_ids``, to a list of token ids for each row.
        """

    def texts(self, split: Split) -> Sequence[str]:
        """Return the text that the backbone reads for each row."""
        return split.sources

    @abstractmethod
    def label(self, target: str) -> list[Any]:
        """Return the training label of a target: its token ids, or a list with the class index or the number."""

    def collate(self, rows: Sequence[Mapping[str, Sequence[Any]]]) -> Batch:
        """Return tokenised rows as padded tensors: ``input_ids``, ``attention_mask`` (B, S) and ``labels`` (B, T).

        All tensors are integers. For a regression, the integers are the bits of float32 numbers.
        """
        return pad_batch(rows, self.tokenizer.pad_token_id)

    def no_rows(self, batch: Batch) -> Batch:
        """Return a batch of one row without a label, on the device of ``batch``. The loss of this row is zero."""
        one = batch["input_ids"].new_ones(1, 1)
        return {"input_ids": one, "attention_mask": one, "labels": batch["labels"].new_full((1, 1), IGNORED)}

    @abstractmethod
    def inputs(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Return the arguments for the model's forward pass in training."""

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the model's logits for the labels of a batch, with the classes or the vocabulary as the last axis."""
        logits: Tensor = model(**self.inputs(model, batch)).logits
        return logits

    def summed_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss in fp32, summed over the labels of a batch. The default is the cross entropy.

        If the batch has ``weights`` (B, 1), the bits of float32 numbers, the loss of each row is multiplied by its
        weight.
        """
        logits, labels = self.logits(model, batch).float().flatten(0, -2), batch["labels"]
        if (weights := batch.get("weights")) is None:
            return nn.functional.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED, reduction="sum")
        losses = nn.functional.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED, reduction="none")
        return (losses.view(labels.shape) * weights.view(torch.float32)).sum()

    @property
    def labels_with_scores(self) -> list[str]:
        """The labels whose probabilities can be computed. A generated text of several labels has none of each label."""
        return [] if self.generates_text and self.multilabel else self.task.target_strings() or []

    def probabilities(self, log_probabilities: Tensor) -> Tensor:
        """Return the probabilities of labels from the log-probabilities (B, labels) of `predict_with_scores`.

        If each row has one label, a probability is the label's likelihood, divided by the sum of the likelihoods of all
        labels.
        """
        return log_probabilities.exp() if self.multilabel else log_probabilities.softmax(-1)

    @abstractmethod
    def predict_with_scores(
        self, model: nn.Module, batch: Batch, targets: Sequence[str], *, longest: int
    ) -> tuple[list[str], Tensor]:
        """Return the predicted text of each row, and the log-probability of each target, (B, targets).

        The number of tokens of the task's longest label is ``longest``. The log-probability of a text is the sum over
        its tokens, including the end of the sequence. Logits in bf16 or fp16 are converted to fp32.
        """

    def decode_labels(self, ids: Tensor) -> list[str]:
        """Return the text of each row of token ids (B, T)."""
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [self.task.normalize(text) for text in texts] if self.multilabel else list(texts)

    def check_length(self, positions: int | None, *, source: int, answer: int, prompt: int = 0) -> None:
        """Check that the model has enough positions for the inputs.

        Args:
            positions: the model's number of positions, or None if this number is unlimited.
            source, answer: the largest number of tokens of a source and of an answer.
            prompt: the number of positions that the method adds.

        Raises:
            KronaError: an input can have more tokens than the model has positions.
        """
        needed = source + prompt + (answer if self.answer_follows else 0)
        if positions is not None and needed > positions:
            more = f" and {answer} tokens of the answer" if self.answer_follows else ""
            more += f" and {prompt} positions of the prompt" if prompt else ""
            raise KronaError(
                f"max_source_length={source}{more} cannot fit into the {positions} positions of this backbone. Set "
                f"max_source_length={positions - needed + source}."
            )

    def check_targets(self, targets: Sequence[str], *, source: str) -> None:
        """Check that the tokenizer reproduces the labels. A label that the tokenizer changes is never predicted.

        Raises:
            KronaError: the tokenizer changes a label.
        """
        for label in targets if self.generates_text else ():  # otherwise, each target is a class of the head
            text = str(self.tokenizer.decode(self.label(label), skip_special_tokens=True)).strip()
            if text != label:
                raise KronaError(
                    f"The tokenizer of {source} changes the label {label!r} of task {self.task.name} to {text!r}. "
                    "Check that its tokenizer.json (or spiece.model) is complete, or set backbone.tokenizer=FOLDER."
                )


def pad_batch(rows: Sequence[Mapping[str, Sequence[Any]]], pad_id: int, *, left: bool = False) -> Batch:
    """Return rows with ``input_ids`` and ``labels`` as a batch of padded tensors.

    The batch contains ``input_ids`` and ``attention_mask`` (B, longest source) and ``labels`` (B, longest label). With
    ``left``, the sources are padded on the left. Labels are padded with -100. Without rows, as in a process without
    data, B is 0.
    """
    input_ids = pad_rows([row["input_ids"] for row in rows], pad_id, left=left)
    mask = pad_rows([[1] * len(row["input_ids"]) for row in rows], 0, left=left)
    labels = pad_rows([row["labels"] for row in rows], IGNORED)
    return {"input_ids": input_ids, "attention_mask": mask, "labels": labels}


def pad_rows(
    rows: Sequence[Sequence[Any]], fill: Any, *, left: bool = False, dtype: torch.dtype = torch.long
) -> Tensor:
    """Return rows of different lengths as one tensor (B, longest row). Without rows, the shape is (0, 0)."""
    width = max(map(len, rows), default=0)
    fills = ([fill] * (width - len(row)) for row in rows)
    padded = [[*more, *row] if left else [*row, *more] for row, more in zip(rows, fills, strict=True)]
    return torch.tensor(padded, dtype=dtype).view(len(rows), width)


@torch.no_grad()
def decode_greedily(step: Callable[[Tensor, Any], Any], first: Any, *, eos: int, pad: int, steps: int) -> Tensor:
    """Return greedily decoded token ids, (B, at most ``steps``).

    A row ends with the end-of-sequence token and is then padded. Decoding stops when all rows have ended. The tokens
    are the same as those of ``model.generate(do_sample=False, num_beams=1)``, which takes 5 % longer for short labels.

    Args:
        step: a function that returns the model's output for new tokens and the cache of all earlier tokens.
        first: the model's output for the earlier tokens.
        eos, pad: the ids of the tokens for the end of the sequence and for padding.
    """
    output, tokens, ended = first, list[Tensor](), torch.zeros_like(first.logits[:, :1, 0], dtype=torch.bool)
    while True:
        ids = output.logits[:, -1:].argmax(-1).masked_fill(ended, pad)  # (B, 1)
        tokens.append(ids)
        ended = ended | (ids == eos)
        if len(tokens) == steps or bool(ended.all()):
            return torch.cat(tokens, dim=1)
        output = step(ids, output[CACHE])


def log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the log-probability of texts with the token ids (…, T), from the logits (…, T, vocabulary).

    The shapes are broadcast. Labels that are -100 do not count.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(0, -2)
    labels = labels.expand(logits.shape[:-1])
    losses = nn.functional.cross_entropy(wide, labels.flatten(), ignore_index=IGNORED, reduction="none")
    return -losses.view(labels.shape).sum(-1)


def round_probabilities(probabilities: Tensor) -> list[list[float]]:
    """Return probabilities (B, labels) with six digits."""
    return [[float(f"{value:.6g}") for value in row] for row in probabilities.tolist()]
