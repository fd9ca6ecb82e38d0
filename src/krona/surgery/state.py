"""The state of a model with an adapter, and functions that iterate over its modules and parameters."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from krona.messages import KronaError
from krona.methods.branch import Branch
from krona.surgery.layers import is_norm
from krona.surgery.wrapper import Adapted, Prompt, is_in_adapter, public_name, unwrap

Slot = tuple[nn.Module, str]  # a module and the name of its attribute that contains a weight


@dataclass
class InsertedAdapter:
    """The adapter of a model: the arguments of its insertion, and what is needed to remove it."""

    branch: type[Branch] | None
    branch_config: dict[str, Any]
    options: dict[str, Any]  # the options of `surgery.insert`, as an adapter file records them
    reversible: bool  # whether the original values of the trained backbone weights are kept
    prepared: bool  # false until `krona.surgery.prepare` has computed the initial values of the branches
    notes: list[str]  # messages of the branches for the user
    training_hook: Any  # what the method does in each training step, or None (`krona.backbones.peft_branch`)
    trained: dict[str, list[Slot]]  # the trained backbone weights: their slots by name; a tied weight has several
    originals: dict[str, nn.Parameter]  # these weights before the training; empty if the adapter is not reversible
    required_grad: dict[str, bool]  # ``requires_grad`` of all parameters before the insertion
    merged: bool = False
    weights_before_merge: dict[Slot, nn.Parameter] = field(default_factory=dict)
    layers_before_merge: dict[Adapted, nn.Module] = field(default_factory=dict)  # the quantised layers before a merge
    hooks: list[RemovableHandle] = field(default_factory=list)  # see `krona.surgery.preparation.require_preparation`


def backbone_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Iterate over the names and modules of a model. Outer modules come before inner modules.

    Wrappers are included, but not the modules inside branches.
    """
    seen: set[nn.Module] = set()
    for name, module in model.named_modules(seen):
        if isinstance(module, Adapted):
            seen.update(module.own_modules())  # named_modules skips modules that it has seen
        elif isinstance(module, Prompt):
            seen.add(module.branches)
        yield name, module


def adapted_modules(model: nn.Module) -> Iterator[tuple[str, Adapted]]:
    """Iterate over the names and wrappers of all modules with branches. Outer modules come before inner modules."""
    for name, module in backbone_modules(model):
        if isinstance(module, Adapted):
            yield name, module


def branch_modules(model: nn.Module) -> Iterator[tuple[str, Adapted | Prompt]]:
    """Iterate over the names and values of all modules that contain parameters of the adapter."""
    for name, module in backbone_modules(model):
        if isinstance(module, Adapted | Prompt):
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


def get_adapter(model: nn.Module) -> InsertedAdapter:
    """Return the adapter of a model.

    Raises:
        KronaError: the model has no adapter.
    """
    adapter: InsertedAdapter | None = model.__dict__.get("krona")
    if adapter is None:
        raise KronaError("There is no adapter in this model. Call surgery.insert(model, …) first.")
    return adapter


def prompt_length(model: nn.Module) -> int:
    """Return the number of positions that the adapter adds to the input, which is 0 without a prompt."""
    prompt = getattr(model, "prompts", None)
    branch: Any = prompt.branches if isinstance(prompt, Prompt) else None
    return 0 if branch is None else int(branch.length)


def put_back(slot: Slot, original: nn.Parameter) -> None:
    """Put a stored weight back into its slot, with the device and the dtype that the model has now."""
    module, attribute = slot
    now = getattr(module, attribute)
    original.data = original.data.to(now.device, now.dtype)
    setattr(module, attribute, original)
