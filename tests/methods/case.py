"""Define the facts about a method that tests need (tests/methods/cases)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from krona.methods.branch import Branch

Array = NDArray[np.float64]
Arguments = dict[str, Any]
Tensors = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class BranchCase:
    """The equation of a branch class, arguments for tests, and mistakes.

    ``update(x, tensors, arguments)`` returns the update for an input x. It is written in NumPy from the equation,
    without code of the project. ``tensors`` contains the parameters of the branch and, for some classes, other tensors.
    """

    kind: type[Branch]
    update: Callable[[Array, Tensors, Arguments], Array]
    arguments: Sequence[Arguments] = ({},)
    sizes: Sequence[tuple[int, int]] = ((12, 20), (20, 12), (16, 16))  # (d_in, d_out)
    mistakes: Sequence[tuple[Arguments, list[str]]] = ()  # of a layer 64 → 768, with words of the message


@dataclass(frozen=True, kw_only=True)
class Case:
    """The facts about a method of conf/method. The defaults are those of a linear branch beside q and v."""

    count: int | None = None  # trainable parameters on T5-base
    rank: int | None = None  # the highest rank of an update there; None: not linear
    start: float = 0.0  # largest difference of the tiny model's logits after the insertion
    disturbance: float = 0.1  # size of random changes of the parameters
    merge_tolerance: float = 1e-9  # relative difference of fp64 outputs after a merge
    merges: bool = True  # into layers without a bias, as those of T5
    merges_with_bias: bool = True
    peft_type: str | None = "LORA"  # the type of an exported folder; None: peft cannot represent the method
    peft_types: Mapping[str, str] = field(default_factory=dict)  # other types, by the kind of the model
    peft_arguments: Arguments = field(default_factory=dict)  # other arguments for these tests
    arguments: Arguments = field(default_factory=dict)  # if the method's own do not fit layers of 16, 32, 48, 64 and 96
    branch: BranchCase | None = None
