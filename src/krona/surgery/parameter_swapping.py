"""Swap parameters in and out of a model.

Three kinds of parameters are stored outside the model: the original values of trained weights, the trained copies of
inactive adapters, and the original weights of merged layers. When the model is moved or cast (``to``, ``half``,
``cuda``), these parameters are moved or cast too.

A slot is a module and the name of its attribute that contains a weight. A tied weight has several slots. A parameter is
put back into all slots that contained its weight at insertion, even if the user has untied the weight since then.
"""

import weakref
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

from torch import nn

from krona.messages import KronaError
from krona.surgery.state import Inserted, Slot, backbone_modules, backbone_parameters, get_state


class ApplyToAll:
    """Replaces a model's ``_apply``, to also move and cast the parameters that are stored outside the model.

    The object has only a weak reference to the model, so that the model is freed without the garbage collector.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = weakref.ref(model)

    def __call__(self, fn: Any, recurse: bool = True) -> nn.Module:
        model = self._model()
        state = get_state(model)
        cast(Any, type(model))._apply(model, fn, recurse)
        if recurse:
            record_weights(state)
            within = {id(p) for p in model.parameters()}
            trained = [adapter.trained for adapter in state.adapters.values()]
            for layer in state.own_layers.values():
                cast(Any, layer)._apply(fn)
            records: list[dict[Any, nn.Parameter]] = [state.originals, state.own_weights, *trained]
            outside = [(record, key) for record in records for key in record if id(record[key]) not in within]
            moved = cast(Any, nn.ParameterList([record[key] for record, key in outside]))._apply(fn)
            for (record, key), parameter in zip(outside, moved, strict=True):
                record[key] = parameter
        return model

    def __reduce__(self) -> Any:
        return ApplyToAll, (self._model(),)

    def _model(self) -> nn.Module:
        model = self.model()
        assert model is not None
        return model


def record_weights(state: Inserted) -> None:
    """Record the weights in the slots, because ``_apply`` and ``load_state_dict(assign=True)`` may replace them."""
    active = state.adapters[state.active].trained if state.active is not None else {}
    for name, ((module, attribute), *_) in state.slots.items():
        record = active if name in active else state.originals
        weight = state.own_weights.get((module, attribute), module._parameters[attribute])
        if name in record and weight is not None:
            record[name] = weight


def swap(model: nn.Module, state: Inserted, name: str | None) -> None:
    """Put the trained weights of an adapter into the model, or the original weights if ``name`` is None.

    Raises:
        KronaError: a weight that the adapter trains was removed from the model. The model is then unchanged.
    """
    record_weights(state)
    weights = dict(state.originals)
    if name is not None:
        require_trained(model, name)
        weights |= state.adapters[name].trained
    for key, weight in weights.items():
        for module, attribute in state.slots[key]:
            module._parameters[attribute] = weight


def require_trained(model: nn.Module, name: str) -> None:
    """Check that all weights that an adapter trains are in the model.

    Raises:
        KronaError: a weight that the adapter trains was removed from the model.
    """
    state, modules = get_state(model), set(model.modules())
    for key in state.adapters[name].trained:
        if all(module not in modules for module, _ in state.slots[key]):
            raise KronaError(
                f"The weight {key}, which adapter {name!r} trains, is no longer in the model, because its module was "
                f"replaced. Put the module back, or call surgery.take_out(model, {name!r})."
            )


def copy_trained(
    model: nn.Module, names: Sequence[str], state: Inserted, *, reversible: bool
) -> dict[str, tuple[list[Slot], nn.Parameter, nn.Parameter]]:
    """Return the slots, the original parameter and the trainable parameter of each weight, by the weight's name.

    The trainable parameter is a copy of the original if ``reversible`` is true, and otherwise the original itself. The
    model is not changed, so that it stays valid if the copies cause an out-of-memory error.
    """
    owners: dict[int, list[Slot]] = defaultdict(list)
    for _, module in backbone_modules(model):
        for attribute, parameter in module._parameters.items():
            owners[id(parameter)].append((module, attribute))
    own = dict(backbone_parameters(model, tied=True))
    found: dict[str, tuple[list[Slot], nn.Parameter, nn.Parameter]] = {}
    for name in names:
        slots = owners[id(own[name])]
        is_known = slots[0] in state.slots.get(name, ())  # then the model may contain the copy of another adapter
        original = state.originals[name] if is_known else own[name]
        found[name] = slots, original, nn.Parameter(original.detach().clone()) if reversible else original
    return found
