"""Swap parameters in and out of a model.

Three kinds of parameters are stored outside the model: the original values of trained weights, the trained copies of
inactive adapters, and the original weights of merged layers. When the model is moved or cast (``to``, ``half``,
``cuda``), these parameters are moved or cast too.

A slot is a module and the name of the attribute that contained a weight at insertion. A tied weight has several slots.
A parameter is put back into all slots of its weight, with these exceptions:

- If a module was removed from the model, its slots are ignored.
- If one slot of a tied weight now contains another weight, this slot is not changed. The weights then stay untied.
- If all slots contain another weight (``load_state_dict(assign=True)``), this weight replaces the stored weight.
- If the weight in a slot now has another shape (``resize_token_embeddings``), an error is raised.
"""

import weakref
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from krona.messages import KronaError
from krona.surgery.state import AdapterState, Slot, backbone_modules, backbone_parameters, get_state


class ApplyToAll:
    """Replaces a model's ``_apply``, to also move and cast the parameters that are stored outside the model.

    The object has only a weak reference to the model, so that the model is freed without the garbage collector.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = weakref.ref(model)

    def __call__(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        model = self._model()
        state = get_state(model)
        current_slots(model, state)
        cast(Any, type(model))._apply(model, fn, recurse)
        if recurse:
            current_slots(model, state)
            within = {id(p) for p in model.parameters()}
            trained = [adapter.trained for adapter in state.adapters.values()]
            for layer in state.layers_before_merge.values():
                cast(Any, layer)._apply(fn)
            before: list[dict[Any, nn.Parameter]] = [state.weights_before_training, state.weights_before_merge]
            records = [*before, *trained]
            outside = [(record, key) for record in records for key in record if id(record[key]) not in within]
            moved = cast(Any, nn.ParameterList([record[key] for record, key in outside]))._apply(fn)
            for (record, key), parameter in zip(outside, moved, strict=True):
                record[key] = parameter
        return model

    def __deepcopy__(self, memo: dict[int, Any]) -> "ApplyToAll":
        return ApplyToAll(memo[id(self._model())])

    def __reduce__(self) -> Any:
        return ApplyToAll, (self._model(),)

    def _model(self) -> nn.Module:
        model = self.model()
        assert model is not None
        return model


def current_slots(model: nn.Module, state: AdapterState) -> dict[str, list[Slot]]:
    """Return the slots that still contain a trained weight, by the weight's name.

    If the user has replaced a weight in all of its slots, the replacement is recorded under the same name.
    """
    modules = {id(module) for _, module in backbone_modules(model)}
    active = state.adapters[state.active].trained if state.active is not None else {}
    current: dict[str, list[Slot]] = {}
    for name, slots in state.slots.items():
        record = active if name in active else state.weights_before_training
        present = [slot for slot in slots if id(slot[0]) in modules]
        weights = {slot: weight for slot in present if (weight := _weight_in(slot, state)) is not None}
        if weights and name in record and all(weight is not record[name] for weight in weights.values()):
            record[name] = next(iter(weights.values()))
        current[name] = [slot for slot, weight in weights.items() if weight is record.get(name, weight)]
    return current


def swap(model: nn.Module, state: AdapterState, name: str | None, *, dry: bool = False) -> None:
    """Put the trained weights of an adapter into the model, or the original weights if ``name`` is None.

    Args:
        dry: only check that the weights can be put into the model.

    Raises:
        KronaError: a weight that the adapter trains was removed from the model, or has another shape. The model is then
            unchanged.
    """
    slots = current_slots(model, state)
    weights = dict(state.weights_before_training)
    if name is not None:
        require_trained(state, name, slots)
        weights |= state.adapters[name].trained
    moves = [(key, slot, weights[key]) for key in slots if key in weights for slot in slots[key]]
    for key, slot, weight in moves:
        now = _weight_in(slot, state)
        if now is not None and now.shape != weight.shape:
            raise KronaError(
                f"The shape of {key} is {tuple(now.shape)} in the model, but {tuple(weight.shape)} in the stored "
                "weight. The weight was resized after the insertion. Restore its original size first."
            )
    for _, slot, weight in moves if not dry else ():
        module, attribute = slot
        if slot in state.weights_before_merge:
            state.weights_before_merge[slot] = weight
        else:
            module._parameters[attribute] = weight


def require_trained(state: AdapterState, name: str, slots: Mapping[str, list[Slot]]) -> None:
    """Check that all weights that an adapter trains are in the model.

    Raises:
        KronaError: a weight that the adapter trains was removed from the model.
    """
    gone = [key for key in state.adapters[name].trained if not slots[key]]
    if gone:
        raise KronaError(
            f"The weight {gone[0]}, which adapter {name!r} trains, is no longer in the model, because its module was "
            f"replaced. Put the module back, or call surgery.take_out(model, {name!r})."
        )


def copy_trained(
    model: nn.Module, names: Sequence[str], state: AdapterState, *, reversible: bool
) -> dict[str, tuple[list[Slot], nn.Parameter, nn.Parameter]]:
    """Return the slots, the original parameter and the trainable parameter of each weight, by the weight's name.

    The trainable parameter is a copy of the original if ``reversible`` is true, and otherwise the original itself. The
    model is not changed, so that it stays valid if the copies cause an out-of-memory error.
    """
    owners: dict[int, list[Slot]] = defaultdict(list)
    for _, module in backbone_modules(model):
        for attribute, parameter in module._parameters.items():
            owners[id(parameter)].append((module, attribute))
    parameters, current = dict(backbone_parameters(model, tied=True)), current_slots(model, state)
    copies: dict[str, tuple[list[Slot], nn.Parameter, nn.Parameter]] = {}
    for name in names:
        slots, original = owners[id(parameters[name])], parameters[name]
        if current.get(name):
            slots, original = current[name], state.weights_before_training.get(name, original)
        copies[name] = slots, original, nn.Parameter(original.detach().clone()) if reversible else original
    return copies


def _weight_in(slot: Slot, state: AdapterState) -> nn.Parameter | None:
    """Return the weight in a slot. For a merged weight, return the backbone's own weight."""
    module, attribute = slot
    return state.weights_before_merge.get(slot, module._parameters.get(attribute))
