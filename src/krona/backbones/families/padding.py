"""Padding of tokenised rows to the tensors of a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Tensor]
IGNORED = -100  # a label that the loss does not count


def pad_batch(rows: Sequence[Mapping[str, Sequence[Any]]], pad_id: int, *, left: bool = False) -> Batch:
    """Return ``input_ids`` and ``attention_mask`` (B, longest source), ``labels`` (B, longest label) padded with -100.

    Without rows, as a rank of a distributed run may have none, the tensors have no rows.
    """
    input_ids = pad_rows([row["input_ids"] for row in rows], pad_id, left=left)
    mask = padding_mask([len(row["input_ids"]) for row in rows], input_ids.shape[1], left=left)
    labels = pad_rows([row["labels"] for row in rows], IGNORED)
    return {"input_ids": input_ids, "attention_mask": mask, "labels": labels}


def pad_rows(
    rows: Sequence[Sequence[Any]], fill: Any, *, left: bool = False, dtype: torch.dtype = torch.long
) -> Tensor:
    """Return (B, longest row), padded at the right or at the left. Without rows: (0, 0)."""
    width = max(map(len, rows), default=0)
    fills = ([fill] * (width - len(row)) for row in rows)
    padded = [[*more, *row] if left else [*row, *more] for row, more in zip(rows, fills, strict=True)]
    return torch.tensor(padded, dtype=dtype).view(len(rows), width)


def padding_mask(lengths: Sequence[int], width: int, *, left: bool = False) -> Tensor:
    """Return (B, width): 1 for a row's own tokens, 0 for padding."""
    positions = torch.arange(width)
    own = torch.tensor(list(lengths))[:, None]
    return ((positions >= width - own) if left else (positions < own)).long()
