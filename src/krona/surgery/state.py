"""The state of a model with adapters, and functions that iterate over its modules and parameters."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from krona.messages import KronaError
from krona.methods.branch import Branch
from krona.surgery.layers import is_norm
from krona.surgery.wrapper import Adapted, Prompts, is_in_adapter, public_name, unwrap

Slot = tuple[nn.Module, str]  # a module and the name of its attribute that contains a weight


@dataclass
class InsertedAdapter:
    """The arguments of an adapter's insertion, and the backbone weights that the adapter trains."""

    branch: type[Branch] | None
    branch_config: dict[str, Any]
    options: dict[str, Any]  # the options of `surgery.insert`, as an adapter file records them
    reversible: bool = True  # whether copies of the trained backbone weights are kept
    prepared: bool = True  # false until `krona.surgery.prepare` has computed the initial values of the branches
    trained: dict[str, nn.Parameter] = field(default_factory=dict)  # the trained backbone weights, by name
    notes: list[str] = field(default_factory=list)  # messages of the branches for the user
    training_hook: Any = None  # what the method does in each training step, or None (`krona.backbones.peft_training`)


@dataclass
class AdapterState:
    """The state of a model with adapters."""

    adapters: dict[str, InsertedAdapter] = field(default_factory=dict)
    weights_before_training: dict[str, nn.Parameter] = field(default_factory=dict)  # of trained weights, by name
    required_grad: dict[str, bool] = field(default_factory=dict)  # ``requires_grad`` before the first insertion
    active: str | None = None  # the name of the active adapter
    merged: str | None = None  # the name of the merged adapter
    weights_before_merge: dict[Slot, nn.Parameter] = field(default_factory=dict)
    layers_before_merge: dict[Adapted, nn.Module] = field(default_factory=dict)  # the quantised layers before a merge
    slots: dict[str, list[Slot]] = field(default_factory=dict)  # the slots of each trained weight at insertion
    checks: list[RemovableHandle] = field(default_factory=list)  # the hooks of `krona.surgery.branch_checks`
    is_checked: bool = False  # whether a forward pass has called the branches


def backbone_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Iterate over the names and modules of a model. Outer modules come before inner modules.

    Wrappers are included, but not the modules inside branches.
    """
    seen: set[nn.Module] = set()
    for name, module in model.named_modules(seen):
        if isinstance(module, Adapted):
            seen.update((module.branches, module.magnitudes))  # named_modules skips modules that it has seen
        elif isinstance(module, Prompts):
            seen.add(module.branches)
        yield name, module


def adapted_modules(model: nn.Module) -> Iterator[tuple[str, Adapted]]:
    """Iterate over the names and wrappers of all modules with branches. Outer modules come before inner modules."""
    for name, module in backbone_modules(model):
        if isinstance(module, Adapted):
            yield name, module


def branch_modules(model: nn.Module) -> Iterator[tuple[str, Adapted | Prompts]]:
    """Iterate over the names and values of all modules that contain parameters of adapters."""
    for name, module in backbone_modules(model):
        if isinstance(module, Adapted | Prompts):
            yield name, module


def backbone_parameters(model: nn.Module, *, tied: bool = False) -> Iterator[tuple[str, nn.Parameter]]:
    """Iterate over the public names and the values of the backbone's own parameters.

    A tied weight is listed once or, with ``tied``, under each of its names.
    """
    for name, parameter in model.named_parameters(remove_duplicate=not tied):
        if not is_in_adapter(name):
            yield public_name(name), parameter


def norm_modules(model: nn.Module) -> list[str]:
    """Return the public names of the backbone's normalisation layers."""
    return [public_name(name) for name, module in model.named_modules() if is_norm(unwrap(module))]


def get_state(model: nn.Module) -> AdapterState:
    """Return the adapter state of a model.

    Raises:
        KronaError: the model has no adapter.
    """
    state: AdapterState | None = model.__dict__.get("krona")
    if state is None:
        raise KronaError("There is no adapter in this model. Call surgery.insert(model, …) first.")
    return state


def get_adapter(model: nn.Module, name: str) -> InsertedAdapter:
    """Return an adapter of the model by its name.

    Raises:
        KronaError: the model has no adapter with this name.
    """
    adapters = get_state(model).adapters
    if name not in adapters:
        raise KronaError(
            f"There is no adapter {name!r} in this model. Its adapters are {', '.join(map(repr, adapters))}."
        )
    return adapters[name]


def active_adapter(model: nn.Module) -> str:
    """Return the name of the active adapter.

    Raises:
        KronaError: no adapter is active.
    """
    name = get_state(model).active
    if name is None:
        raise KronaError("No adapter is active. Call surgery.activate(model, name) first.")
    return name


def prompt_length(model: nn.Module) -> int:
    """Return the number of positions that the active adapter adds to the input, which is 0 without a prompt."""
    prompts: Any = getattr(model, "prompts", None)
    return int(prompts.branches[prompts.active].length) if prompts and prompts.active in prompts.branches else 0


def active_training_hook(model: nn.Module) -> Any:
    """Return what the active adapter's method does in each training step, or None."""
    return get_adapter(model, active_adapter(model)).training_hook if "krona" in model.__dict__ else None


def require_unmerged(state: AdapterState) -> None:
    """Check that no adapter is merged into the weights.

    Raises:
        KronaError: an adapter is merged.
    """
    if state.merged is not None:
        raise KronaError(f"Adapter {state.merged!r} is merged into the weights. Call surgery.unmerge(model) first.")
