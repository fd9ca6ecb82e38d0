"""Rows of different adapters in one batch: the backbone is computed once, each row has its own adapter's branches.

    with surgery.mixed(model, ["sst2", "rte", None]) as batch, torch.no_grad():
        model(**three_rows)               # None: the bare backbone
        batch.set(["rte", "rte"])         # the adapters of the next two rows
        model(**two_rows)

Branches of one kind are products with stacked weights, normalisations have each row's own weights, a head runs once for
each adapter. Stacks are made at the first use of a place and again when a weight changes. Nothing of it costs outside
the context: it replaces the forwards of the modules concerned, and puts them back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from krona.messages import KronaError
from krona.surgery.insertion import NO_COPY
from krona.surgery.mixed_places import PlaceByRow, WeightsByRow
from krona.surgery.mixed_rows import Name, Rows
from krona.surgery.wrapper import adapted_modules, adapter_named, public_name, state_of


class MixedBatch:
    """The context's handle: `set` names the adapters of the next batch."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._rows = model, Rows(state_of(model))

    def set(self, rows: Sequence[Name]) -> None:
        """The adapter of each row of the next forward passes. Raises KronaError for one that can't be mixed."""
        if not rows:
            raise KronaError("rows is empty: give the name of an adapter, or None, for each row of the batch")
        adapters = {name: adapter_named(self._model, name) for name in rows if name is not None}
        for name, adapter in adapters.items():
            if adapter.insertion["train_backbone"]:
                raise KronaError(
                    f"adapter {name!r} trains the whole backbone: its rows have nothing in common with others. "
                    f"surgery.activate(model, {name!r}) for a batch of its own"
                )
        for name, adapter in self._rows.adapters.items():
            if None in rows and adapter.irreversible:
                raise KronaError(f"{NO_COPY.format(name)}: there is no bare backbone for rows of None")
        self._rows.set(rows)


@contextmanager
def mixed(model: nn.Module, rows: Sequence[Name]) -> Iterator[MixedBatch]:
    """Give each row of the forward passes inside its own adapter; ``rows``: their names, None for the bare backbone.

    For inference: the model in eval mode, under ``torch.no_grad()``. Decoding works as with one adapter; beams are rows
    of their own. Weights of a place's adapters of one kind are held a second time, and once for each row.

    Raises:
        KronaError: no such adapter, one that trains the whole backbone, a merged one; inside, a forward with another
            number of rows, in training mode or with gradients.
    """
    state = state_of(model)
    if state.merged is not None:
        raise KronaError(f"adapter {state.merged!r} is merged into the weights: surgery.unmerge(model) first")
    active = state.adapters.get(state.active) if state.active is not None else None
    if active is not None and active.insertion["train_backbone"]:
        raise KronaError(
            f"adapter {state.active!r} is active and trains the whole backbone: surgery.activate(model, None) first"
        )
    if any(isinstance(m.__dict__.get("forward"), (PlaceByRow, WeightsByRow)) for m in model.modules()):
        raise KronaError("this model is in surgery.mixed already: `set` of its batch names other rows")
    if model.training:
        raise KronaError("rows of several adapters are for inference, and the model is in training mode: model.eval()")
    batch = MixedBatch(model)
    batch.set(rows)
    replaced: list[tuple[nn.Module, Any, Any]] = []  # module, its own forward if it had one, the other
    try:
        for module, forward in _forwards(model, batch._rows):
            replaced.append((module, module.__dict__.get("forward"), forward))
            module.__dict__["forward"] = forward
        yield batch
    finally:
        for module, own, forward in replaced:
            del module.__dict__["forward"]
            if own is not None:
                module.__dict__["forward"] = own
            for capture in getattr(forward, "captures", ()):
                capture.handle.remove()


def _forwards(model: nn.Module, rows: Rows) -> Iterator[tuple[nn.Module, Any]]:
    """A forward for each place with branches and for each module with weights that an adapter trains."""
    names = {module: public_name(name) for name, module in model.named_modules()}
    trained = _trained(model, rows)
    for module, own in trained.items():
        yield module, WeightsByRow(rows, names[module], module, own)
    for place, adapted in adapted_modules(model):
        yield adapted, PlaceByRow(rows, public_name(place), adapted, trained.get(adapted.base, {}).get("bias"))


def _trained(model: nn.Module, rows: Rows) -> dict[nn.Module, dict[str, str]]:
    """The modules of the backbone with weights that an adapter trains: attribute → public name."""
    holders: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for attribute, parameter in module._parameters.items():
            holders.setdefault(id(parameter), []).append((module, attribute))
    state, found = rows.state, dict[nn.Module, dict[str, str]]()
    held = state.originals | (state.adapters[state.active].trained if state.active is not None else {})
    adapters = {name: adapter for name, adapter in rows.adapters.items() if name not in rows.whole}
    for adapter_name, adapter in adapters.items():
        for name in adapter.trained:
            if id(held[name]) not in holders:
                raise KronaError(
                    f"{name}, which adapter {adapter_name!r} trains, is no longer in the model: its module or weight "
                    f"was exchanged. Put it back, or surgery.take_out(model, {adapter_name!r})"
                )
            for module, attribute in holders[id(held[name])]:
                found.setdefault(module, {})[attribute] = name
    return found
