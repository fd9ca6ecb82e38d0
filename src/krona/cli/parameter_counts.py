"""Costs of each method, counted on the meta device: no weights, no data, seconds for any size (`krona params`).

Every figure is counted on the model with the method in it, none is from a formula.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from krona import surgery
from krona.adapters.adapter import Adapter
from krona.backbones.with_method import insert_method
from krona.config.settings import Method
from krona.paper import read_paper_table
from krona.surgery.operations import launches, multiply_adds

PRINTING_RULE = "Table 1's Params column cuts after two decimals: 0.1260 → 0.12, 0.0726 → 0.07, 0.0627 → 0.06"


@dataclass(frozen=True)
class MethodRow:
    """One method on one backbone."""

    method: str
    trainable_params: int
    trainable_percent: float  # of the backbone before insertion
    printed_percent: float  # the same under the paper's rule
    paper_percent: float | None  # Table 1's Params column
    update_rank: int | None  # the highest rank that the update of one layer or block can have; None: no linear map
    file_bytes: int  # the adapter's file
    multiply_adds: int  # of all branches' matrix products, one token at each place, unmerged
    launches: int  # kernels that one forward gains, unmerged
    head_params: int = 0  # of a head of two classes that is new on each task and trains with every method


def method_row(model: nn.Module, method: Method, *, counterparts: Mapping[str, Any] | None = None) -> MethodRow:
    """One method's row. ``model``: on the meta device (`krona.backbones.load.meta_model`), left unchanged."""
    insert_method(model, method, counterparts=counterparts or {})
    try:
        count = surgery.count(model)
        return MethodRow(
            method=method.name,
            trainable_params=count.trainable,
            trainable_percent=count.percent,
            printed_percent=printed_percent(count.percent),
            paper_percent=read_paper_table("1").value(method.name, "params"),
            update_rank=surgery.update_rank(model),
            file_bytes=Adapter.of(model).file_bytes if count.trainable or count.head else 0,
            multiply_adds=multiply_adds(model),
            launches=launches(model),
            head_params=count.head,
        )
    finally:
        surgery.take_out(model)


def printed_percent(percent: float) -> float:
    """A percentage as Table 1 prints it: cut, not rounded, after two decimals."""
    return math.floor(percent * 100 + 1e-9) / 100
