"""Where branches go into a T5, what trains, and how everything comes out again: torch only.

    from krona import surgery
    from krona.methods.kronecker import Kronecker

    surgery.insert(model, Kronecker, target_modules=["q", "v"], kron_factors=[[32, 24], [24, 32]])
    print(surgery.count(model))            # Count(trainable=158208, backbone=222903552)
    surgery.take_out(model)                # the model is bit for bit what it was

Placement is data: ``target_modules`` are patterns over module names. A name (``q``, ``SelfAttention``,
``encoder.block.0.layer.0.SelfAttention.q``) takes the modules whose dotted name ends with it; a pattern whose last
part has a ``*`` (``encoder.*``, ``SelfAttention.*``) takes the linear layers that it matches.
"""

import difflib
import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from krona.errors import KronaError

Placement = Literal["parallel", "sequential"]


@dataclass(frozen=True)
class Count:
    """Parameters that train, and those of the backbone before insertion (tied weights counted once)."""

    trainable: int
    backbone: int

    @property
    def percent(self) -> float:
        """trainable_percent: of the backbone before insertion."""
        return 100 * self.trainable / self.backbone


@dataclass
class Adapter:
    """One inserted method: where its branches sit and which of the backbone's own weights train with it."""

    branch: Callable[..., nn.Module] | None
    branch_config: dict[str, Any]
    target_modules: tuple[str, ...]
    placement: Placement
    modules_per_target: int
    train_layer_norms: bool
    train_backbone: bool
    places: tuple[str, ...] = ()
    trained: dict[str, nn.Parameter] = field(default_factory=dict)  # the backbone's weights that train, by name


@dataclass
class Inserted:
    """What a model carries while adapters are in it."""

    adapters: dict[str, Adapter] = field(default_factory=dict)
    originals: dict[str, nn.Parameter] = field(default_factory=dict)  # weights that stand aside, by name
    required_grad: dict[str, bool] = field(default_factory=dict)  # the flags before the first insertion
    active: str | None = None


class Adapted(nn.Module):
    """A module of the backbone with branches beside it (parallel) or after it (sequential).

    parallel: ``y = base(x) + Σ branch(x)``; sequential: ``y = base(x)``, then ``y = y + branch(y)``, one by one.
    The base may be a linear layer, a LayerNorm, an FFN or an attention block (of a tuple the first is the output).
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.branches = nn.ModuleDict()  # adapter → its branches here
        self.placements: dict[str, Placement] = {}
        self.active: str | None = None

    def __getattr__(self, name: str) -> Any:  # T5 reads wo.weight, SelfAttention.compute_bias, … through the wrapper
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        output = self.base(x, *args, **kwargs)
        if self.active is None or self.active not in self.branches:
            return output
        y = output[0] if isinstance(output, tuple) else output
        branches: Iterable[nn.Module] = self.branches[self.active]  # type: ignore[assignment]
        if self.placements[self.active] == "parallel":
            for branch in branches:
                y = y + branch(x)
        else:
            for branch in branches:
                y = y + branch(y)
        return (y, *output[1:]) if isinstance(output, tuple) else y


def insert(
    model: nn.Module,
    branch: Callable[..., nn.Module] | None = None,
    *,
    target_modules: Sequence[str] = (),
    placement: Placement = "parallel",
    modules_per_target: int = 1,
    train_layer_norms: bool = True,
    train_backbone: bool = False,
    name: str = "default",
    reversible: bool = True,
    **branch_config: Any,
) -> None:
    """Freeze the backbone, put branches where ``target_modules`` says, and leave what trains trainable.

    Args:
        branch: called as ``branch(d_in, d_out, **branch_config)`` for each place; None puts in no branch.
        modules_per_target: branches at each place (KronA^B has two to each FFN).
        train_layer_norms: all LayerNorm weights train too (47,616 on T5-base; ``paper/notes`` decides: on).
        train_backbone: everything trains (full fine-tuning).
        reversible: keep the weights that train as they were, for ``take_out`` (full: one more copy of the model).

    Raises:
        KronaError: a pattern that matches nothing, a branch that does not fit, a name in use. The model is
            untouched then.
    """
    state: Inserted = model.__dict__.get("krona") or Inserted()
    if name in state.adapters:
        raise KronaError(f"an adapter named {name!r} is in the model already: take it out first or use another name")
    places = find_places(model, target_modules) if branch is not None else []
    built = {  # all are built before the first is put in: an error leaves the model as it was
        place: nn.ModuleList(
            branch(*widths(_base(model.get_submodule(place))), **branch_config) for _ in range(modules_per_target)
        )
        for place in places
        if branch is not None
    }
    if not state.adapters:
        state.required_grad = {n: p.requires_grad for n, p in model.named_parameters()}
    model.__dict__["krona"] = state
    model.requires_grad_(False)
    adapter = Adapter(
        branch=branch,
        branch_config=dict(branch_config),
        target_modules=tuple(target_modules),
        placement=placement,
        modules_per_target=modules_per_target,
        train_layer_norms=train_layer_norms,
        train_backbone=train_backbone,
        places=tuple(places),
    )
    for place, branches in built.items():
        adapted = model.get_submodule(place)
        if not isinstance(adapted, Adapted):
            adapted = Adapted(adapted)
            _replace(model, place, adapted)
        weight = next(adapted.base.parameters())
        adapted.branches[name] = branches.to(weight.device)
        adapted.placements[name] = placement
    trained = trained_names(model, train_layer_norms=train_layer_norms, train_backbone=train_backbone)
    owners = _parameter_owners(model)
    for trained_name in trained:
        original = (
            state.originals.get(trained_name) or owners[trained_name][0][0]._parameters[owners[trained_name][0][1]]
        )
        assert original is not None
        if reversible:
            state.originals.setdefault(trained_name, original)
            adapter.trained[trained_name] = nn.Parameter(original.detach().clone())
        else:
            adapter.trained[trained_name] = original
    state.adapters[name] = adapter
    activate(model, name)


def activate(model: nn.Module, name: str | None) -> None:
    """Switch to one of the adapters by name, or to the bare backbone (None). Only the active one trains."""
    state = _state(model)
    if name is not None:
        _adapter(model, name)
    owners = _parameter_owners(model)
    trained = state.adapters[name].trained if name is not None else {}
    for parameter_name in {p for a in state.adapters.values() for p in a.trained}:
        current = trained.get(parameter_name, state.originals.get(parameter_name))
        if current is not None:
            for owner, attribute in owners[parameter_name]:
                owner._parameters[attribute] = current
    state.active = name
    for _, adapted in adapted_modules(model):
        adapted.active = name
        for adapter_name, branches in adapted.branches.items():
            branches.requires_grad_(adapter_name == name)
    for original in state.originals.values():
        original.requires_grad_(False)
    for parameter in trained.values():
        parameter.requires_grad_(True)


def take_out(model: nn.Module, name: str | None = None) -> None:
    """Take out one adapter, or all: with the last one the backbone is bit for bit what it was before."""
    state = _state(model)
    for leaving in [name] if name is not None else list(state.adapters):
        adapter = _adapter(model, leaving)
        if adapter.trained and not state.originals:
            raise KronaError(
                f"adapter {leaving!r} was inserted with reversible=False: the backbone's own weights have trained "
                "and no copy was kept; load the backbone again"
            )
        activate(model, None)
        for place, adapted in list(adapted_modules(model)):
            if leaving in adapted.branches:
                del adapted.branches[leaving]
                del adapted.placements[leaving]
            if not adapted.branches:
                _replace(model, place, adapted.base)
        del state.adapters[leaving]
    if state.adapters:
        activate(model, next(iter(state.adapters)))
        return
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(state.required_grad[parameter_name])
    del model.__dict__["krona"]


def count(model: nn.Module) -> Count:
    """Trainable parameters, and the backbone's before insertion."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    branches = {id(p) for _, adapted in adapted_modules(model) for p in adapted.branches.parameters()}
    backbone = sum(p.numel() for p in model.parameters() if id(p) not in branches)
    return Count(trainable=trainable, backbone=backbone)


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """What trains, by name: ``encoder.block.0.layer.0.SelfAttention.q.0.A``, ``encoder.block.0.layer.0.layer_norm.weight``.

    A branch's number at its place stands before its own name: KronA^B has ``DenseReluDense.0.A`` and ``….1.A``.
    """
    return {public_name(n): p for n, p in model.named_parameters() if p.requires_grad}


def load_trainable_state(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy tensors into what trains. Other keys or shapes are an error, and nothing is copied."""
    own = trainable_state(model)
    if own.keys() != tensors.keys():
        missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
        raise KronaError(
            f"these weights are of another method or backbone: {len(missing)} of {len(own)} names are missing"
            f"{f' (first {missing[0]})' if missing else ''}, {len(unknown)} are unknown"
            f"{f' (first {unknown[0]})' if unknown else ''}"
        )
    for parameter_name, parameter in own.items():
        if parameter.shape != tensors[parameter_name].shape:
            raise KronaError(
                f"{parameter_name} is {tuple(tensors[parameter_name].shape)} in these weights and "
                f"{tuple(parameter.shape)} in the model"
            )
    with torch.no_grad():
        for parameter_name, parameter in own.items():
            parameter.copy_(tensors[parameter_name])


def public_name(name: str) -> str:
    """A parameter's name without the wrappers: as it would be called beside the backbone's own."""
    parts = name.split(".")
    kept: list[str] = []
    for index, part in enumerate(parts):
        if part in ("base", "branches") or (index and parts[index - 1] == "branches"):
            continue
        kept.append(part)
    return ".".join(kept)


def adapted_modules(model: nn.Module) -> Iterator[tuple[str, Adapted]]:
    """The places that carry branches, by name."""
    for name, module in model.named_modules():
        if isinstance(module, Adapted):
            yield name, module


def find_places(model: nn.Module, target_modules: Sequence[str]) -> list[str]:
    """Names of the modules that the patterns match, in the model's order."""
    candidates = {
        public_name(name): name for name, module in model.named_modules() if widths_or_none(_base(module)) is not None
    }
    candidates = {public: name for public, name in candidates.items() if not name.endswith(".base")}
    places: dict[str, None] = {}
    for pattern in target_modules:
        glob = "*" in pattern.rsplit(".", 1)[-1]
        matched = [
            name
            for public, name in candidates.items()
            if (fnmatch.fnmatchcase(public, pattern) or fnmatch.fnmatchcase(public, f"*.{pattern}"))
            and (not glob or isinstance(_base(model.get_submodule(name)), nn.Linear))
        ]
        if not matched:
            last = sorted({public.rsplit(".", 1)[-1] for public in candidates})
            near = difflib.get_close_matches(pattern.rsplit(".", 1)[-1], last, n=3, cutoff=0.4)
            raise KronaError(
                f"target_modules: {pattern!r} matches no module of this backbone; "
                f"{'near names: ' + ', '.join(near) if near else 'its modules end in: ' + ', '.join(last)}"
            )
        places.update(dict.fromkeys(matched))
    order = {name: i for i, (name, _) in enumerate(model.named_modules())}
    return sorted(places, key=order.__getitem__)


def widths_or_none(module: nn.Module) -> tuple[int, int] | None:
    """(d_in, d_out) of a module that can carry a branch: a linear layer, a LayerNorm, an FFN, an attention."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    kind = type(module).__name__
    if kind.endswith("LayerNorm"):
        weight = module.get_parameter("weight")
        return weight.numel(), weight.numel()
    first: Any = getattr(module, "wi", None) or getattr(module, "wi_0", None) or getattr(module, "q", None)
    last: Any = getattr(module, "wo", None) or getattr(module, "o", None)
    if first is not None and last is not None:
        return int(_base(first).in_features), int(_base(last).out_features)
    return None


def widths(module: nn.Module) -> tuple[int, int]:
    found = widths_or_none(module)
    if found is None:
        raise KronaError(f"no branch can stand at a {type(module).__name__}")
    return found


def trained_names(model: nn.Module, *, train_layer_norms: bool, train_backbone: bool) -> list[str]:
    """Public names of the backbone's own parameters that train; a tied weight once, by its first name."""
    names = [public_name(name) for name, _ in model.named_parameters() if ".branches." not in name]
    if train_backbone:
        return names
    return [n for n in names if train_layer_norms and "layer_norm" in n.rsplit(".", 2)[-2]]


def _parameter_owners(model: nn.Module) -> dict[str, list[tuple[nn.Module, str]]]:
    """Every module and attribute that holds a parameter of the backbone: one list for tied ones, under each name."""
    by_parameter: dict[int, list[tuple[nn.Module, str]]] = {}
    names: dict[str, int] = {}
    for module_name, module in model.named_modules(remove_duplicate=False):
        for attribute, parameter in module._parameters.items():
            if parameter is None or ".branches." in f"{module_name}.":
                continue
            by_parameter.setdefault(id(parameter), []).append((module, attribute))
            names[public_name(f"{module_name}.{attribute}")] = id(parameter)
    return {name: by_parameter[identity] for name, identity in names.items()}


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)


def _base(module: nn.Module) -> nn.Module:
    return module.base if isinstance(module, Adapted) else module


def _state(model: nn.Module) -> Inserted:
    state = model.__dict__.get("krona")
    if state is None:
        raise KronaError("no adapter is in this model: surgery.insert(model, …) puts one in")
    assert isinstance(state, Inserted)
    return state


def _adapter(model: nn.Module, name: str) -> Adapter:
    adapters = _state(model).adapters
    if name not in adapters:
        raise KronaError(f"no adapter named {name!r} is in the model; there are: {', '.join(map(repr, adapters))}")
    return adapters[name]
