"""Count, return, convert and overwrite the trainable parameters of a model with an adapter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.branch import Branch
from krona.surgery.branches import existing_names
from krona.surgery.layers import is_linear, original_shape
from krona.surgery.state import (
    adapted_modules,
    backbone_parameters,
    branch_modules,
    get_adapter,
    norm_modules,
)
from krona.surgery.target_modules import widths, widths_at
from krona.surgery.wrapper import Adapted, is_in_adapter, public_name


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
        if (rank := rank_of_branches(adapted)) is None:
            return None
        ranks.append(rank if adapted.dora is None else min(widths_at(adapted)))
    # an adapter without branches may train existing biases, and then has the rank of its branch class (0)
    return max(ranks, default=None if adapter.branch is None else adapter.branch.update_rank)


def rank_of_branches(adapted: Adapted) -> int | None:
    """Return the maximum rank of the sum of the branches at a module, or None if a branch is not linear."""
    ranks = [branch.update_rank for branch in adapted.own_branches()]
    known = [rank for rank in ranks if rank is not None]
    return min(*widths_at(adapted), sum(known)) if len(known) == len(ranks) else None


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


def by_first_name(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Return tensors by name. A tensor that modules share has several names, and is returned by the first."""
    owned: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in named:
        owned.setdefault(id(tensor), (name, tensor))
    return dict(owned.values())


def train_in_fp32(model: nn.Module) -> None:
    """Convert the trained parameters, such as the magnitude of DoRA, and the branches' frozen tensors to fp32."""
    for tensor in filter(Tensor.is_floating_point, adapter_state(model).values()):
        tensor.data = tensor.data.float()


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the adapter's trained parameters and its branches' frozen tensors (buffers) by public name.

    For example, A₀ and B₀ of PiSSA are buffers.
    """
    trained, frozen, weights = [], [], dict(backbone_parameters(model))
    for full_name, holder in branch_modules(model):
        name = public_name(full_name)
        trained += [(f"{name}.{key}", parameter) for key, parameter in holder.own_parameters()]
        frozen += [(f"{name}.{key}", buffer) for key, buffer in holder.branches.named_buffers()]
    of_backbone = {name: weights[name] for name in get_adapter(model).trained}
    return by_first_name(trained) | of_backbone | by_first_name(frozen)


def trained_names(model: nn.Module, branch: type[Branch] | None, options: Mapping[str, Any]) -> list[str]:
    """Return the public names of the backbone parameters that an adapter trains. A tied weight is listed once.

    Args:
        branch: the class of the branches. The biases that BitFit trains are included (`existing_names`).
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
    existing = existing_names(model, branch, options.get("target_modules", ()))
    shared = {id(with_tied[name]) for name in existing}  # a bias may have several names
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
