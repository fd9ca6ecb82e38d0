"""Weights that stand aside while others are in the model: originals, other adapters' copies, merged-over weights.

They follow the model (``to``, ``half``, ``cuda``), and come back where their module still is. A weight's slots are the
modules and attributes that held it at insertion, several for a tied one. What was exchanged since is told apart:

- A module that left the model took its weights with it: nothing is put back there.
- A tie that was undone stays undone: the slot that got another weight leaves the others.
- Another weight in all its slots (``load_state_dict(assign=True)``) counts as the one that was there.
- A weight of another shape (``resize_token_embeddings``) is an error.
"""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import nn

from krona.messages import KronaError
from krona.surgery.wrapper import (
    Inserted,
    Slot,
    adapted_modules,
    adapter_named,
    of_an_adapter,
    public_name,
    state_of,
)


class Following:
    """A model's ``_apply``, which takes the weights that stand aside along.

    It refers to its model weakly, so that the model is freed as soon as it is dropped.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = weakref.ref(model)

    def __call__(self, fn: Any, recurse: bool = True) -> nn.Module:
        model = self._followed()
        state = state_of(model)
        slots_of(model, state)
        cast(Any, type(model))._apply(model, fn, recurse)
        if recurse:
            slots_of(model, state)
            within = {id(p) for p in model.parameters()}
            records = [(held, key) for held in _records(state) for key in held if id(held[key]) not in within]
            moved = cast(Any, nn.ParameterList([held[key] for held, key in records]))._apply(fn)
            for (held, key), parameter in zip(records, moved, strict=True):
                held[key] = parameter
        return model

    def __deepcopy__(self, memo: dict[int, Any]) -> "Following":
        return Following(memo[id(self._followed())])

    def __reduce__(self) -> Any:
        return Following, (self._followed(),)

    def _followed(self) -> nn.Module:
        model = self.model()
        assert model is not None
        return model


def follow(model: nn.Module) -> None:
    """Let the weights that stand aside go where the model goes."""
    model.__dict__.setdefault("_apply", Following(model))


def unfollow(model: nn.Module) -> None:
    if isinstance(model.__dict__.get("_apply"), Following):
        del model.__dict__["_apply"]


def _records(state: Inserted) -> list[dict[str, nn.Parameter]]:
    return [state.originals, state.own_weights, *(adapter.trained for adapter in state.adapters.values())]


def slots_of(model: nn.Module, state: Inserted) -> dict[str, list[Slot]]:
    """The slots in which each of the weights that train still is, with what was exchanged since told apart."""
    modules = {id(module) for module in model.modules()}
    merged = _merged_places(model)
    found: dict[str, list[Slot]] = {}
    active = state.adapters[state.active].trained if state.active is not None else {}
    for name, slots in state.slots.items():
        held = active if name in active else state.originals
        live = [slot for slot in slots if id(slot[0]) in modules and _in(slot, state, merged) is not None]
        now = [_in(slot, state, merged) for slot in live]
        if now and name in held and all(weight is not held[name] for weight in now):
            held[name] = cast(nn.Parameter, now[0])
        found[name] = [s for s, weight in zip(live, now, strict=True) if weight is held.get(name, weight)]
    return found


def exchange(model: nn.Module, state: Inserted, name: str | None, *, dry: bool = False) -> None:
    """Put the weights that an adapter trains (None: the originals) into the model; ``dry``: only check that it can be.

    Raises:
        KronaError: a weight that the adapter trains is no longer in the model, or has another shape. Nothing is
            exchanged then.
    """
    trained = state.adapters[name].trained if name is not None else {}
    slots, merged = slots_of(model, state), _merged_places(model)
    check_in_place(name, trained, slots)
    wanted = {key: trained.get(key, state.originals.get(key)) for key in slots}
    for key, parameter in wanted.items():
        for slot in slots[key]:
            now = _in(slot, state, merged)
            if parameter is not None and now is not None and now.shape != parameter.shape:
                raise KronaError(
                    f"{key} is {tuple(now.shape)} in the model, and what stands aside for it is "
                    f"{tuple(parameter.shape)}: it was resized after the insertion. Give it its old size back first"
                )
    for key, parameter in wanted.items():
        if dry or parameter is None:
            continue
        for module, attribute in slots[key]:
            if id(module) in merged and attribute == "weight":
                state.own_weights[merged[id(module)]] = parameter
            else:
                module._parameters[attribute] = parameter


def check_in_place(name: str | None, trained: Mapping[str, nn.Parameter], slots: Mapping[str, list[Slot]]) -> None:
    """An error if a weight that an adapter trains is no longer in the model."""
    gone = [key for key in trained if not slots[key]]
    if gone:
        raise KronaError(
            f"{gone[0]}, which adapter {name!r} trains, is no longer in the model: its module was exchanged after the "
            f"insertion. Put the module back, or surgery.take_out(model, {name!r})"
        )


def check_trained(model: nn.Module, name: str) -> None:
    """An error if a weight that an adapter trains is no longer in the model; one exchanged by hand is taken over."""
    check_in_place(name, adapter_named(model, name).trained, slots_of(model, state_of(model)))


def copies_of(
    model: nn.Module, names: Sequence[str], state: Inserted, *, reversible: bool
) -> dict[str, tuple[list[Slot], nn.Parameter, nn.Parameter]]:
    """Of each of these weights: its slots, the original, and what trains, a copy of it if ``reversible``.

    Nothing is changed, so that a lack of memory leaves the model as it was.
    """
    owners, kept = _owners(model), slots_of(model, state)
    found: dict[str, tuple[list[Slot], nn.Parameter, nn.Parameter]] = {}
    for name in names:
        slots = kept.get(name) or owners[name]
        owner, attribute = slots[0]
        original = cast(nn.Parameter, owner._parameters[attribute])
        if kept.get(name):
            original = state.originals.get(name, original)
        found[name] = slots, original, nn.Parameter(original.detach().clone()) if reversible else original
    return found


def _merged_places(model: nn.Module) -> dict[int, str]:
    """The layers with a merged weight, by identity: their own weight stands aside under the place's name."""
    return {id(adapted.base): place for place, adapted in adapted_modules(model) if adapted.merged}


def _in(slot: Slot, state: Inserted, merged: Mapping[int, str]) -> nn.Parameter | None:
    """The weight in a slot; under a merged weight, the one that it stands for."""
    module, attribute = slot
    if id(module) in merged and attribute == "weight":
        return state.own_weights[merged[id(module)]]
    return module._parameters.get(attribute)


def _owners(model: nn.Module) -> dict[str, list[Slot]]:
    """Every module and attribute that holds a parameter of the backbone: one list for tied ones, under each name."""
    by_parameter: dict[int, list[Slot]] = {}
    names: dict[str, int] = {}
    for module_name, module in model.named_modules(remove_duplicate=False):
        prefix = f"{module_name}." if module_name else ""
        for attribute, parameter in module._parameters.items():
            if parameter is None or of_an_adapter(prefix):
                continue
            slots = by_parameter.setdefault(id(parameter), [])
            if all(slot[0] is not module or slot[1] != attribute for slot in slots):
                slots.append((module, attribute))
            names[public_name(f"{prefix}{attribute}")] = id(parameter)
    return {name: by_parameter[identity] for name, identity in names.items()}
