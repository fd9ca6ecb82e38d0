"""Define the base class of all branches, check their arguments, and compute their most common initial values.

An error message about an argument contains ``method.<key>``, the value and the allowed values.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from inspect import getattr_static
from typing import Any, ClassVar, Literal, Protocol, Self

import torch.nn.functional as F
from torch import Tensor, nn

from krona.messages import KronaError, did_you_mean

NON_LINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {  # see Table 6 of the KronA paper
    "mish": F.mish,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


class TrainingHook(Protocol):
    """Adds a term to the loss and acts after each step (such as `krona.backbones.peft_branch.PeftTrainingHook`)."""

    def penalty(self, model: nn.Module) -> Tensor | None: ...

    def after_step(self, model: nn.Module, step: int) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Branch(nn.Module):
    """A module that computes the update of one layer or block of the backbone.

    A method defines a subclass. ``Subclass(d_in, d_out, *, ...)`` creates a branch for the input and output widths of a
    layer or block. A subclass must define ``forward`` and `reset_parameters`, and should define `delta` if its update
    is linear. All other members have defaults.

    ``forward(x)`` returns the update (..., d_out) for an input x (..., d_in). The placement determines how
    `krona.surgery` uses the branch at a layer or block:

    - *parallel*: the branch receives the layer's input. The update is added to the layer's output.
    - *sequential*: the branch receives the layer's output. The update is added to the layer's output.
    """

    shared: ClassVar[Sequence[str]] = ()
    """The names of the parameters that all branches of an adapter share."""
    existing_parameter: ClassVar[str | None] = None
    """The name of a parameter, such as ``bias``. If the layer already has it, it is trained instead of the branch."""
    peft_type: ClassVar[str | None] = None
    """The name of the same method in peft (`to_peft`), if peft has the same layer."""
    computes_layer: ClassVar[bool] = False
    """Whether the branch replaces its whole layer, and was built by `build_all`."""
    adds_positions: ClassVar[bool] = False
    """Whether the branch adds positions to the model's input, and was built by `build_prompt`."""
    update_rank: int | None = None
    """The maximum rank of the update, which `krona params` shows. None: the update is not linear."""
    needs: Literal["weight", "gradient", "covariance"] | None = None
    """The matrix from which `prepare` computes the initial values. None: `prepare` is not called."""
    init_rows: int = 0
    """The number of training rows from which the gradient or the covariance is computed."""
    training_hook: TrainingHook | None = None
    """Changes the training of the whole adapter. Only the first branch has a hook."""
    notes: Sequence[str] = ()
    """Notes about the branch for the user."""

    def reset_parameters(self) -> None:
        """Initialise the parameters for training."""
        raise NotImplementedError

    def delta(self) -> Tensor:
        """Return the matrix (d_out, d_in) that merging adds to the layer's weight.

        Raises:
            KronaError: the update cannot be merged, for example because an argument makes the update non-linear.
        """
        raise KronaError(
            "Its update is not linear in the input, or has a constant part. Use the adapter without merging it."
        )

    def low_rank(self) -> tuple[Tensor, Tensor] | None:
        """Return factors (d_in, r) and (r, d_out) of the update, or None.

        The export to peft's LoRA uses these factors.
        """
        return None

    def norm_change(self, W: Tensor) -> Tensor | None:
        """Return ‖W + ΔW‖² - ‖W‖² for each row of the layer's weight W (d_out, d_in), or None.

        A class defines this method if it can do so without computing ΔW (`krona.methods.magnitude`).
        """
        return None

    def prepare(self, matrix: Tensor) -> None:
        """Compute initial values from the matrix that `needs` names. `krona.surgery.prepare` calls this method.

        Args:
            matrix: the layer's weight (d_out, d_in), the gradient of the loss with respect to this weight, or the
                covariance (d_in, d_in) of the layer's inputs.
        """
        raise NotImplementedError

    def add_to(self, y: Tensor, x: Tensor, *others: Self) -> Tensor:
        """Return the sum of y, ``self(x)`` and the updates of the other branches at the same layer or block.

        A class defines this method if it can compute the sum faster than with separate calls.
        """
        for branch in (self, *others):
            y = y + branch(x)
        return y

    def beside(self, layer: Any, x: Tensor) -> Tensor:
        """Return ``layer(x) + self(x)`` for a linear layer.

        A class defines this method if it can compute the sum faster than with separate calls.
        """
        y: Tensor = layer(x)
        return self.add_to(y, x).to(y.dtype)  # under autocast, the update may be in fp32

    @classmethod
    def fit_to_run(
        cls, arguments: dict[str, Any], translate: Callable[[Sequence[str]], list[str]], steps: int | None
    ) -> dict[str, Any]:
        """Return the arguments of the branches for a backbone and a number of optimizer steps.

        ``translate`` maps T5's module names to those of the backbone.
        """
        return arguments

    @classmethod
    def build_all(cls, model: nn.Module, modules: Sequence[str], config: Mapping[str, Any]) -> "Mapping[str, Branch]":
        """Return the branches of all these modules, by name. Only a class with `computes_layer` defines this method."""
        raise NotImplementedError

    @classmethod
    def build_prompt(cls, model: nn.Module, config: Mapping[str, Any]) -> Any:
        """Return the branch of a model. Only a class with `adds_positions` defines this method."""
        raise NotImplementedError

    def merged(self, layer: nn.Module) -> nn.Module:
        """Return a copy of the layer with the update merged into its weights, if the branch computes the layer."""
        raise NotImplementedError

    def to_peft(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Return the entries of peft's config and the tensors of peft's layer, or None if peft has no such layer."""
        return None

    @classmethod
    def defines(cls, name: str) -> bool:
        """Return whether the class defines this method itself instead of inheriting the default."""
        return getattr_static(cls, name) is not getattr_static(Branch, name)


def kaiming_uniform(parameter: Tensor, fan_in: int) -> None:
    """Initialise a parameter Kaiming-uniform with a = √5: the bound is 1/√fan_in."""
    nn.init.uniform_(parameter, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))


def check_int(key: str, value: int, *, low: int, high: int | None = None, why: str = "") -> int:
    """Check that the value is within limits, and return it.

    Args:
        why: the reason for the limits, which the error message contains.

    Raises:
        KronaError: the value is not from ``low`` to ``high``.
    """
    if value < low or (high is not None and value > high):
        limits = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise KronaError(f"method.{key}={value!r} is not a whole number {limits}{why and f' ({why})'}.")
    return value


def check_choice(key: str, value: object, options: Iterable[str | None]) -> None:
    """Check that the value is one of the options.

    Raises:
        KronaError: the value is not an option. The message shows the option None as null.
    """
    known = list(options)
    if value not in known:
        words = ["null" if option is None else option for option in known]
        raise KronaError(f"method.{key}={value!r}: {did_you_mean(str(value), words)}")


def check_divisor(key: str, value: int, d_in: int, d_out: int) -> int:
    """Check that the value divides both widths of the layer, and return it.

    Raises:
        KronaError: the value is not a whole number that divides both widths of the layer.
    """
    check_int(key, value, low=1)
    if d_in % value or d_out % value:
        raise KronaError(
            f"method.{key}={value} does not divide both widths of a layer {d_in} → {d_out}. Their greatest common "
            f"divisor is {math.gcd(d_in, d_out)}."
        )
    return value


def get_non_linearity(name: str) -> Callable[[Tensor], Tensor]:
    """Return the non-linear function with this name.

    Raises:
        KronaError: the name is unknown.
    """
    check_choice("non_linearity", name, NON_LINEARITIES)
    return NON_LINEARITIES[name]
