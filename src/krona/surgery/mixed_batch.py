"""Give each row of a batch its own adapter. The backbone runs once for all rows, and each adapter runs on its rows.

    with surgery.mixed(model, ["sst2", "rte", None]) as batch, torch.no_grad():
        model(**three_rows)               # None: the bare backbone
        batch.set(["rte", "rte"])         # the adapters of the next two rows
        model(**two_rows)

If an adapter trains weights of the backbone (a LayerNorm, a head), the module with these weights runs once per adapter,
on the rows of this adapter.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError, amount
from krona.surgery.insertion import NO_COPY
from krona.surgery.parameter_swapping import current_slots, require_trained
from krona.surgery.state import adapted_modules, get_adapter, get_state, require_unmerged
from krona.surgery.wrapper import Adapted, public_name

Name = str | None  # the name of an adapter, or None for the bare backbone


class MixedBatch:
    """The object that `mixed` yields. Its method `set` chooses the adapters for the rows of the next batch."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.state = model, get_state(model)
        self.adapters = dict(self.state.adapters)
        self.names: tuple[Name, ...] = ()
        self.groups: list[tuple[Name, Tensor]] = []  # each adapter with the indices of its rows
        self.trained: dict[nn.Module, dict[str, str]] = {}  # module → attribute that trains → public name
        slots = current_slots(model, self.state)
        for name, adapter in self.adapters.items():
            if not adapter.insertion["train_backbone"]:
                require_trained(self.state, name, slots)
                for key in adapter.trained:
                    for module, attribute in slots[key]:
                        self.trained.setdefault(module, {})[attribute] = key

    def set(self, rows: Sequence[Name]) -> None:
        """Set the adapter of each row in the following forward passes. None means the bare backbone.

        Raises KronaError if there are no rows, or if an adapter cannot be used for a part of a batch.
        """
        if not rows:
            raise KronaError("rows is empty. Give the name of an adapter, or None, for each row of the batch.")
        names = dict.fromkeys(rows)
        for name in names:
            if name is not None and get_adapter(self.model, name).insertion["train_backbone"]:
                raise KronaError(
                    f"Adapter {name!r} trains the whole backbone, so its rows cannot be in a batch with other rows. "
                    f"Use surgery.activate(model, {name!r}) and a separate batch."
                )
        for name, adapter in self.adapters.items():
            if None in names and adapter.irreversible:
                raise KronaError(f"{NO_COPY.format(name)}There is no bare backbone for rows with None.")
        self.names = tuple(rows)
        self.groups = [(name, torch.tensor([row for row, own in enumerate(rows) if own == name])) for name in names]

    def forward(self, adapted: Adapted, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run a module's base once for all rows, and each adapter's branches on the adapter's rows."""
        self._check(adapted, x)
        x = self._update(adapted, x, x, before=True)
        output = adapted.base(x, *args, **kwargs)
        if isinstance(output, tuple):
            return (self._update(adapted, output[0], x), *output[1:])
        return self._update(adapted, output, x)

    def forward_trained(self, module: nn.Module, plain: Any, x: Tensor) -> Tensor:
        """Run ``plain``, a module's own forward function, once per adapter, with its weights and on its rows."""
        self._check(module, x)
        parts = []
        for name, rows in self.groups:
            with self._weights(name, module):
                parts.append(plain(x[rows]))
        order = torch.cat([rows for _, rows in self.groups]).argsort()
        return torch.cat(parts)[order]

    def _update(self, adapted: Adapted, y: Tensor, x: Tensor, *, before: bool = False) -> Tensor:
        out = y
        for name, rows in self.groups:
            if name not in adapted.places or (adapted.places[name].placement == "before") != before:
                continue
            out = y.clone() if out is y else out
            source = adapted.captures[name].take() if name in adapted.captures else x
            with self._weights(name, adapted.base):  # a magnitude reads the weights
                out[rows] = adapted.update(name, y[rows], source[rows])
        return out

    @contextmanager
    def _weights(self, name: Name, module: nn.Module) -> Iterator[None]:
        """Inside the context, replace the weights of a backbone's module by those that an adapter trains."""
        trained = self.state.adapters[name].trained if name is not None else {}
        own = dict(module._parameters)
        for attribute, key in self.trained.get(module, {}).items():
            module._parameters[attribute] = trained.get(key, self.state.originals.get(key, own[attribute]))
        try:
            yield
        finally:
            module._parameters.update(own)

    def check_state(self) -> None:
        """Raise KronaError if the model is training or merged, or if the active adapter trains the whole backbone."""
        if self.model.training:
            raise KronaError("surgery.mixed is for inference, but the model is in training mode. Call model.eval().")
        require_unmerged(self.state)
        active = self.state.active
        if active is not None and self.adapters[active].insertion["train_backbone"]:
            raise KronaError(
                f"Adapter {active!r} trains the backbone's weights. Call surgery.activate(model, None) first."
            )

    def _check(self, module: nn.Module, x: Tensor) -> None:
        """Raise KronaError if gradients are enabled, the number of rows is wrong, or the adapters have changed."""
        if torch.is_grad_enabled():
            raise KronaError("surgery.mixed is for inference, but gradients are enabled. Use torch.no_grad().")
        if len(x) != len(self.names) or isinstance(x, nn.Parameter):
            where = next(public_name(name) for name, other in self.model.named_modules() if other is module)
            found = "a weight instead of rows" if isinstance(x, nn.Parameter) else amount(len(x), "row")
            raise KronaError(
                f"{where} got {found}, but surgery.mixed has the adapters of {amount(len(self.names), 'row')}. With "
                "beam search, each beam is a row and needs an adapter. If this backbone does not pass rows to this "
                "module, use surgery.activate with one adapter."
            )
        if [*map(id, self.state.adapters.values())] != [*map(id, self.adapters.values())]:
            raise KronaError(
                "An adapter was inserted or removed inside a surgery.mixed block. Leave the block before you insert or "
                "remove adapters."
            )
        self.check_state()


@contextmanager
def mixed(model: nn.Module, rows: Sequence[Name]) -> Iterator[MixedBatch]:
    """Give each row of the forward passes inside the context its own adapter.

    The model must be in eval mode, and gradients must be disabled (``torch.no_grad()``). ``generate`` works as with a
    single adapter. With beam search, each beam is a row.

    Args:
        rows: the name of the adapter for each row. None means the bare backbone.

    Raises:
        KronaError: an adapter is unknown or merged, or trains the whole backbone. Inside the context, the error is also
            raised if a forward pass has another number of rows, if gradients are enabled, or if the model is in
            training mode.
    """
    state = get_state(model)
    if state.batch is not None:
        raise KronaError(
            "This model is in surgery.mixed already. To change the adapters of the rows, call `set` of the batch."
        )
    batch = MixedBatch(model)
    batch.check_state()
    batch.set(rows)
    places = [adapted for _, adapted in adapted_modules(model)]
    own_forwards = {module: vars(module).get("forward") for module in batch.trained}
    state.batch = batch
    for adapted in places:
        adapted.batch = batch
    for module in batch.trained:
        vars(module)["forward"] = partial(batch.forward_trained, module, module.forward)
    try:
        yield batch
    finally:
        state.batch = None
        for adapted in places:
            adapted.batch = None
        for module, own in own_forwards.items():
            del vars(module)["forward"]
            if own is not None:
                vars(module)["forward"] = own
