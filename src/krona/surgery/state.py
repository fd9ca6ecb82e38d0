"""The adapter in a model: its record, its modules and its parameters."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from krona.kernels.t5_modules import restore_modules
from krona.messages import KronaError
from krona.methods.branch import Branch, TrainingHook
from krona.surgery.layers import (
    Adapted,
    Prompt,
    all_names,
    is_in_adapter,
    is_linear,
    is_norm,
    original_shape,
    public_name,
    replace,
    unwrap,
)
from krona.surgery.target_modules import match_modules, widths, widths_at

Slot = tuple[nn.Module, str]  # a module and the name of its attribute that contains a weight
SAVERS = ("save_pretrained", "push_to_hub")  # the methods that raise an error while the model contains branches


@dataclass
class InsertedAdapter:
    """The adapter of a model: the arguments of its insertion, and what is needed to remove it."""

    branch: type[Branch] | None
    branch_config: dict[str, Any]
    options: dict[str, Any]  # the options of `surgery.insert`, as an adapter file records them
    reversible: bool  # whether the original values of the trained backbone weights are kept
    prepared: bool  # false until `krona.surgery.prepare` has computed the initial values of the branches
    notes: list[str]  # messages of the branches for the user
    training_hook: TrainingHook | None  # what the method does in each training step
    trained: dict[str, list[Slot]]  # the trained backbone weights: their slots by name; a tied weight has several
    originals: dict[str, nn.Parameter]  # these weights before the training; empty if the adapter is not reversible
    required_grad: dict[str, bool]  # ``requires_grad`` of all parameters before the insertion
    merged: bool = False
    weights_before_merge: dict[Slot, nn.Parameter] = field(default_factory=dict)
    layers_before_merge: dict[Adapted, nn.Module] = field(default_factory=dict)  # the quantised layers before a merge
    hooks: list[RemovableHandle] = field(default_factory=list)  # see `krona.surgery.preparation.require_preparation`


def get_adapter(model: nn.Module) -> InsertedAdapter:
    """Return the adapter of a model.

    Raises:
        KronaError: the model has no adapter.
    """
    adapter: InsertedAdapter | None = model.__dict__.get("krona")
    if adapter is None:
        raise KronaError("There is no adapter in this model. Call surgery.insert(model, …) first.")
    return adapter


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


def prompt_length(model: nn.Module) -> int:
    """Return the number of positions that the adapter adds to the input, which is 0 without a prompt."""
    prompt = getattr(model, "prompts", None)
    return prompt.length if isinstance(prompt, Prompt) else 0


def put_back(slot: Slot, original: nn.Parameter) -> None:
    """Put a stored weight back into its slot, with the device and the dtype that the model has now."""
    module, attribute = slot
    now = getattr(module, attribute)
    original.data = original.data.to(now.device, now.dtype)
    setattr(module, attribute, original)


def remove_branches(model: nn.Module) -> None:
    """Remove the branches, their wrappers and hooks, and undo the other changes of `krona.surgery.insert`."""
    names, adapter = all_names(model), get_adapter(model)
    for _, adapted in reversed(list(adapted_modules(model))):  # unwrap inner modules before outer modules
        replace(model, names[adapted], adapted.base)
        if adapted.capture:
            adapter.hooks.append(adapted.capture.handle)
    if isinstance(prompt := getattr(model, "prompts", None), Prompt):
        adapter.hooks += prompt.hooks
        del model.prompts
    for handle in adapter.hooks:
        handle.remove()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(adapter.required_grad.get(name, parameter.requires_grad))
    restore_modules(model)
    for name in (*SAVERS, "krona"):
        model.__dict__.pop(name, None)


@dataclass(frozen=True)
class Count:
    """The parameter counts of a model."""

    trainable: int  # the number of trainable parameters, without the head
    backbone: int  # the number of parameters before the insertion, without the head; tied weights are counted once
    head: int = 0  # the number of the head's parameters; the head is new for each task and trained with every method

    @property
    def percent(self) -> float:
        """The number of trainable parameters, in percent of the backbone's parameters."""
        return 100 * self.trainable / self.backbone


def count(model: nn.Module) -> Count:
    """Return the number of trainable parameters and the number of the backbone's parameters before the insertion."""
    weights = dict(backbone_parameters(model))
    head = sum(original_shape(weights[name]).numel() for name in _names_in(weights, _head(model)))
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    backbone = sum(original_shape(p).numel() for p in weights.values())
    return Count(trainable=trainable - head, backbone=backbone - head, head=head)


def _head(model: nn.Module) -> list[str]:
    return list(get_adapter(model).options.get("head", ())) if "krona" in model.__dict__ else []


def update_rank(model: nn.Module) -> int | None:
    """Return the maximum rank of the updates of all adapted modules, or None if an update is not linear.

    The ranks of several branches at a module are added. The sum is limited by the smaller width of the module.
    """
    adapter = get_adapter(model)
    if adapter.options["train_backbone"]:
        outside = ("lm_head", *_head(model))
        linear = [widths(m) for n, m in model.named_modules() if is_linear(m) and n.split(".")[0] not in outside]
        return max(map(min, linear))
    ranks: list[int] = []
    for _, adapted in adapted_modules(model):
        own = [branch.update_rank for branch in adapted.own_branches()]
        known = [rank for rank in own if rank is not None]
        if len(known) < len(own):
            return None
        largest = min(widths_at(adapted))
        ranks.append(min(largest, sum(known)) if adapted.dora is None else largest)
    # an adapter without branches may train existing biases, and then has the rank of its branch class (0)
    return max(ranks, default=None if adapter.branch is None else adapter.branch.update_rank)


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the trainable parameters by public name, such as ``encoder.block.0.layer.0.SelfAttention.q.0.A``.

    The number before the parameter's name is the index of the branch at its module. For example, KronA^B has two
    branches at each FFN, with ``DenseReluDense.0.A`` and ``DenseReluDense.1.A``. If several modules share a parameter,
    the parameter is listed once, under its first name.
    """
    return {public_name(n): p for n, p in model.named_parameters() if p.requires_grad}


def trainable_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the trainable parameters by group.

    The parameters of the head are in the group ``head``, and those of normalisation layers in ``layer_norms``. The
    group of any other parameter is the last part of its name, such as ``A``, ``B``, ``bias`` or ``magnitude``.
    """
    groups: dict[str, list[nn.Parameter]] = {}
    names = [public_name(name) for name, _ in model.named_parameters() if not is_in_adapter(name)]
    heads, norms = set(_names_in(names, _head(model))), set(_names_in(names, norm_modules(model)))
    for full_name, parameter in model.named_parameters():
        name = public_name(full_name)
        of_tuner = full_name.partition(".tuner.")[2].partition(".")[0]  # such as lora_A in a layer of peft
        group = "head" if name in heads else "layer_norms" if name in norms else of_tuner or name.rpartition(".")[2]
        if parameter.requires_grad:
            groups.setdefault(group, []).append(parameter)
    return groups


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the adapter's trained parameters and its branches' frozen tensors (buffers) by public name.

    For example, A₀ and B₀ of PiSSA are buffers. A tensor that modules share has its first name.
    """
    weights: dict[str, Tensor] = dict(backbone_parameters(model))
    trained = {public_name(name): p for name, p in model.named_parameters() if is_in_adapter(name)}
    frozen = {public_name(name): buffer for name, buffer in model.named_buffers() if is_in_adapter(name)}
    return {**trained, **{name: weights[name] for name in get_adapter(model).trained}, **frozen}


def train_in_fp32(model: nn.Module) -> None:
    """Convert the trained parameters, such as the magnitude of DoRA, and the branches' frozen tensors to fp32."""
    for tensor in filter(Tensor.is_floating_point, adapter_state(model).values()):
        tensor.data = tensor.data.float()


def has_existing(branch: type[Branch], base: nn.Module) -> bool:
    """Return whether the module already has the parameter that the branch would add, such as a bias."""
    return branch.existing_parameter is not None and getattr(base, branch.existing_parameter, None) is not None


def trained_names(model: nn.Module, branch: type[Branch] | None, options: Mapping[str, Any]) -> list[str]:
    """Return the public names of the backbone parameters that an adapter trains. A tied weight is listed once.

    Args:
        branch: the class of the branches. The biases that BitFit trains are included (`existing_parameter`).
        options: `InsertOptions` as a dict.

    Raises:
        KronaError: the model does not have the head.
    """
    parameters, with_tied = (dict(backbone_parameters(model, tied=tied)) for tied in (False, True))
    head = list(options.get("head", ()))
    for module in head:
        if not _names_in(with_tied, [module]):
            raise KronaError(f"The head {module!r} was not found, because this model has no weights with this name.")
    if options.get("train_backbone", False):
        return list(parameters)
    shared = set()  # a bias may have several names
    if branch is not None and branch.existing_parameter is not None:
        for name in match_modules(model, options.get("target_modules", ())):
            if has_existing(branch, unwrap(model.get_submodule(name))):
                shared.add(id(with_tied[f"{public_name(name)}.{branch.existing_parameter}"]))
    trained = {*(name for name, p in parameters.items() if id(p) in shared), *_names_in(parameters, head)}
    if options.get("train_layer_norms", True):
        trained.update(_names_in(parameters, norm_modules(model)))
    return [name for name in parameters if name in trained]


def _names_in(names: Iterable[str], modules: Sequence[str]) -> list[str]:
    """Return the parameter names of these modules and their submodules."""
    prefixes = tuple(f"{module}." for module in modules)
    return [name for name in names if name.startswith(prefixes)]


def load_adapter_state(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into the `adapter_state` with `copy_into`."""
    copy_into(adapter_state(model), tensors)
    get_adapter(model).prepared = True


def copy_into(targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy ``tensors`` into the tensors of ``targets`` that have the same names.

    Raises:
        KronaError: the names or shapes differ. Nothing is copied in this case.
    """
    if targets.keys() != tensors.keys():
        missing, unknown = sorted(targets.keys() - tensors.keys()), sorted(tensors.keys() - targets.keys())
        raise KronaError(
            f"These weights belong to another method or backbone. {len(missing)} of {len(targets)} names are missing"
            f"{f' (first {missing[0]})' if missing else ''}, and {len(unknown)} are unknown"
            f"{f' (first {unknown[0]})' if unknown else ''}."
        )
    for name, parameter in targets.items():
        if parameter.shape != tensors[name].shape:
            raise KronaError(
                f"The shape of {name} is {tuple(tensors[name].shape)} in these weights, but {tuple(parameter.shape)} "
                "in the model."
            )
    with torch.no_grad():
        for name, parameter in targets.items():
            parameter.copy_(tensors[name])
