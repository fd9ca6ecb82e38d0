"""The rows of a batch of several adapters, and what modules keep for them (`surgery.mixed`)."""

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError, amount
from krona.methods.inference_parts import Parts
from krona.surgery.mixed_parts import gathered, stacked
from krona.surgery.wrapper import Inserted

Name = str | None  # an adapter's; None: the bare backbone


class Rows:
    """The adapter of each row of the next forward passes."""

    def __init__(self, state: Inserted) -> None:
        self.state, self.adapters = state, dict(state.adapters)
        self.whole = {name for name, adapter in self.adapters.items() if adapter.insertion["train_backbone"]}
        self.names: tuple[Name, ...] = ()
        self.used: tuple[Name, ...] = ()

    def set(self, names: Sequence[Name]) -> None:
        self.names, self.used = tuple(names), tuple(dict.fromkeys(names))

    def of(self, names: Collection[Name], x: Tensor) -> Tensor | None:
        """Numbers of the rows of some adapters, on x's device; None where these are all rows."""
        if len(names) == len(self.used):
            return None
        names = set(names)
        rows = [row for row, name in enumerate(self.names) if name in names]
        return None if len(rows) == len(self.names) else torch.tensor(rows, device=x.device)

    def weight(self, name: Name, module: nn.Module, attribute: str, public: str | None) -> Tensor | None:
        """A parameter of the backbone as an adapter has it; ``public``: its name if any adapter trains it."""
        own = module._parameters[attribute]
        if public is None:
            return own
        trained = self.state.adapters[name].trained if name is not None else {}
        return trained.get(public, self.state.originals.get(public, own))

    def check(self, where: str, module: nn.Module, x: Tensor) -> None:
        """Raise KronaError for a forward in which the rows' adapters would not be theirs."""
        if module.training or torch.is_grad_enabled():
            how = "the model is in training mode" if module.training else "gradients are on"
            raise KronaError(
                f"rows of several adapters are for inference, and {how}: model.eval() and torch.no_grad(); "
                "surgery.activate(model, NAME) for training"
            )
        if len(x) != len(self.names) or isinstance(x, nn.Parameter):
            found = "no rows but a weight" if isinstance(x, nn.Parameter) else amount(len(x), "row")
            raise KronaError(
                f"{where} was given {found}, and surgery.mixed has the adapters of {amount(len(self.names), 'row')}. "
                "Beams are rows: give their adapter to each. Where a backbone reads no rows here, activate one adapter"
            )
        adapters = self.state.adapters
        if len(adapters) != len(self.adapters) or any(adapters.get(n) is not self.adapters.get(n) for n in self.used):  # type: ignore[arg-type]
            raise KronaError("an adapter was put in or taken out inside surgery.mixed: end it first")
        if self.state.merged is not None or self.state.active in self.whole:
            raise KronaError(
                f"adapter {self.state.active!r} is in the backbone's weights: surgery.activate(model, None)"
            )


class Cached:
    """What a module computes from adapters' weights: made again when the rows or a weight change."""

    def __init__(self, rows: Rows, where: str, module: nn.Module) -> None:
        self.rows, self.where, self.module = rows, where, module
        self.names: tuple[Name, ...] | None = None  # the rows for which `made` is
        self.made: Any = None
        self.stacks: dict[Hashable, tuple[dict[Name, int], list[Parts]]] = {}
        self.marks: dict[Name, list[Any]] = {}  # of the weights in the stacks

    def current(self, x: Tensor) -> Any:
        used = self.rows.used
        if any(name in self.marks and self.marks[name] != self.mark(name) for name in used):
            self.stacks, self.marks, self.names = {}, {}, None
        if self.names is not self.rows.names:
            self.made, self.names = self.make(x), self.rows.names
            for name in used:
                if name not in self.marks:
                    self.marks[name] = self.mark(name)
        return self.made

    def gather(
        self, kind: Hashable, adapters: Sequence[Name], names: Collection[Name], parts: Callable[[Any], list[Parts]],
        x: Tensor,
    ) -> list[Parts]:  # fmt: skip
        """The weights of the rows of ``names``; ``adapters``: all of that kind, which make the stack."""
        if kind not in self.stacks:
            each = zip(*(parts(name) for name in adapters), strict=True)
            self.stacks[kind] = {name: slot for slot, name in enumerate(adapters)}, [stacked(one) for one in each]
            self.marks |= {name: self.mark(name) for name in adapters}
        slots, stacks = self.stacks[kind]
        names = set(names)
        at = torch.tensor([slots[name] for name in self.rows.names if name in names], device=x.device)
        return [gathered(stack, at) for stack in stacks]

    def mark(self, name: Name) -> list[Any]:
        """Differs from an earlier one where a weight of the adapter has changed."""
        raise NotImplementedError

    def make(self, x: Tensor) -> Any:
        raise NotImplementedError
