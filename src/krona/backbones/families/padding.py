"""Pad tokenised rows to equal lengths, and build the tensors of a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Tensor]
IGNORED = -100  # a label that the loss ignores


def pad_batch(rows: Sequence[Mapping[str, Sequence[Any]]], pad_id: int, *, left: bool = False) -> Batch:
    """Return rows with ``input_ids`` and ``labels`` as a batch of padded tensors.

    The batch contains ``input_ids`` and ``attention_mask`` (B, longest source), which ``left`` pads on the left, and
    ``labels`` (B, longest label), which are padded with -100. Without rows, as in a process without data, B is 0.
    """
    input_ids = pad_rows([row["input_ids"] for row in rows], pad_id, left=left)
    mask = pad_rows([[1] * len(row["input_ids"]) for row in rows], 0, left=left)
    labels = pad_rows([row["labels"] for row in rows], IGNORED)
    return {"input_ids": input_ids, "attention_mask": mask, "labels": labels}


def pad_rows(
    rows: Sequence[Sequence[Any]], fill: Any, *, left: bool = False, dtype: torch.dtype = torch.long
) -> Tensor:
    """Return rows of different lengths as one tensor (B, longest row). Without rows, its shape is (0, 0)."""
    width = max(map(len, rows), default=0)
    fills = ([fill] * (width - len(row)) for row in rows)
    padded = [[*more, *row] if left else [*row, *more] for row, more in zip(rows, fills, strict=True)]
    return torch.tensor(padded, dtype=dtype).view(len(rows), width)
