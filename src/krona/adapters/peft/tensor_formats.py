"""Convert an adapter to one of peft's types: LORA, IA3, LOKR, MISS, C3A, HIRA, VERA or LN_TUNING."""

import inspect
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from krona.adapters.peft.module_names import module_names, shortest
from krona.adapters.update import low_rank
from krona.messages import KronaError
from krona.methods.c3a import C3A
from krona.methods.hira import HiRA
from krona.methods.ia3 import IA3
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr, split_width
from krona.methods.lora import LoRA
from krona.methods.miss import MiSS
from krona.methods.vera import VeRA
from krona.surgery.layers import is_conv1d, is_linear
from krona.surgery.merging import require_own_weight
from krona.surgery.state import adapted_modules, get_adapter, norm_modules
from krona.surgery.targets import widths
from krona.surgery.wrapper import Adapted, public_name

INSTEAD = "peft cannot represent such an adapter. Merge the branches, or keep krona's file."


@dataclass
class Form:
    """The config and the tensors with which peft represents an adapter."""

    peft_type: str
    config: dict[str, Any] = field(default_factory=dict)  # the entries that depend on the type
    tensors: dict[str, Tensor] = field(default_factory=dict)  # by name, without peft's prefix
    places: list[str] = field(default_factory=list)  # the names of the adapted modules
    shared: dict[str, Tensor] = field(default_factory=dict)  # the tensors that all modules share


def find_form(model: nn.Module, name: str) -> Form:
    """Return the peft type that fits an adapter, with its config and tensors. Raises KronaError if no type fits."""
    adapter = get_adapter(model, name)
    if getattr(adapter.branch, "existing", None) is not None:
        raise KronaError(f"{getattr(adapter.branch, '__name__', '?')} trains only biases. {INSTEAD}")
    places = {public_name(path): place for path, place in adapted_modules(model) if name in place.branches}
    if not places:
        return _norms(model, adapter.trained, head=adapter.insertion.get("head", ()))
    for label, adapted in places.items():
        _require_linear(label, adapted, name)
    branches: dict[str, Any] = {label: next(adapted.branches[name].children()) for label, adapted in places.items()}
    if all(isinstance(branch, IA3) for branch in branches.values()):
        return _ia3(places, name, module_names(model))
    for label, adapted in places.items():
        if adapted.places[name].placement != "parallel":
            raise KronaError(f"The branch at {label} is {adapted.places[name].placement}, not parallel. {INSTEAD}")
    several = any(len(list(adapted.branches[name].children())) > 1 for adapted in places.values())
    kinds = {type(branch) for branch in branches.values()}
    plain = not several and all(name not in adapted.magnitudes for adapted in places.values())
    if plain and kinds == {HiRA}:
        return _hira(branches, places)
    if plain and kinds == {VeRA} and len({branch.sizes for branch in branches.values()}) == 1:
        return _vera(branches, places)
    if plain and all(isinstance(adapted.base, nn.Linear) for adapted in places.values()):
        if kinds == {MiSS}:
            return _miss(branches)
        if kinds == {C3A}:
            return _c3a(branches)
        if kinds == {LoKr}:
            return _lokr(branches, adapter.branch_config)
        factor = _decompose_factor(branches, places)
        if factor is not None:
            return _product(branches, factor)
    return _lora(places, name)


def _require_linear(label: str, adapted: Adapted, name: str) -> None:
    branches = list(adapted.branches[name].children())
    kinds = " and ".join(sorted({type(branch).__name__ for branch in branches}))
    if name in adapted.captures or not is_linear(adapted.base):
        block = "a whole block" if name in adapted.captures else f"a {type(adapted.base).__name__}"
        raise KronaError(f"{kinds} at {label} adapts {block}, not a linear layer. {INSTEAD}")
    for branch in branches:
        if not hasattr(branch, "delta"):
            raise KronaError(f"{kinds} at {label} is not linear in its input. {INSTEAD}")
        if isinstance(branch, Kronecker) and (branch.bias is not None or branch.non_linearity is not None):
            what = "a bias" if branch.non_linearity is None else "a non-linearity"
            raise KronaError(f"{kinds} at {label} has {what}. {INSTEAD}")


def _norms(model: nn.Module, trained: Mapping[str, Tensor], *, head: Sequence[str]) -> Form:
    """Return the form of the trained normalisation layers, without those inside a module of the head."""
    form, norms = Form("LN_TUNING"), norm_modules(model)
    for key, parameter in trained.items():
        module, _, last = key.rpartition(".")
        if module in norms and not any(module.startswith(f"{name}.") for name in head):
            form.tensors[f"{module}.ln_tuning_layers.{last}"] = parameter
            form.places += [] if module in form.places else [module]
    return form


def _ia3(places: Mapping[str, Adapted], name: str, names: Sequence[str]) -> Form:
    first = next(iter(places.values()))
    form = Form("IA3", {"fan_in_fan_out": is_conv1d(first.base)}, places=list(places))
    after, before = list[str](), list[str]()
    for label, adapted in places.items():
        how = adapted.places[name]
        if how.placement == "parallel" or how.inner_residual:
            raise KronaError(f"The output of (IA)³ at {label} is added to the activations. {INSTEAD}")
        scale = adapted.branches[name].get_parameter("0.scale")
        is_before = how.placement == "before"
        form.tensors[f"{label}.ia3_l"] = scale[None] if is_before else scale[:, None]
        (before if is_before else after).append(label)
    scaled_inputs = shortest(before, names, str.endswith)  # peft compares the ends of names
    form.config |= {"feedforward_modules": scaled_inputs, "target_modules": [*shortest(after, names), *scaled_inputs]}
    return form


def _lora(places: Mapping[str, Adapted], name: str) -> Form:
    first = next(iter(places.values()))
    dora, transposed = name in first.magnitudes, is_conv1d(first.base)
    config = {"bias": "none", "lora_dropout": 0.0, "use_dora": dora, "fan_in_fan_out": transposed}
    form, ranks = Form("LORA", config, places=list(places)), {}
    for label, adapted in places.items():
        branches: list[Any] = list(adapted.branches[name].children())
        if len(branches) == 1 and isinstance(branches[0], LoRA):
            down, up, scaling = branches[0].A.T, branches[0].B.T, branches[0].scaling
        else:
            require_own_weight(adapted, name)
            down, up = low_rank(branches, *widths(adapted.base))
            scaling = 1.0
        form.tensors |= {f"{label}.lora_A.weight": down, f"{label}.lora_B.weight": up}
        ranks[label] = (len(down), scaling * len(down))
        if dora:
            form.tensors[f"{label}.lora_magnitude_vector"] = adapted.magnitudes[name].get_parameter("magnitude")
    form.config |= _rank_settings(ranks, "lora_alpha")
    return form


def _miss(branches: Mapping[str, Any]) -> Form:
    tensors = {f"{label}.miss_block": branch.matrix() for label, branch in branches.items()}
    (rank,) = {len(branch.D) for branch in branches.values()}
    return Form("MISS", {"init_weights": True, "miss_dropout": 0.0, "r": rank}, tensors, list(branches))


def _c3a(branches: Mapping[str, Any]) -> Form:
    tensors = {f"{label}.c3a_kernel": branch.scaling * branch.kernels for label, branch in branches.items()}
    size, pattern = _split_common({label: branch.kernels.shape[2] for label, branch in branches.items()})
    config = {"init_weights": True, "block_size": size, "block_size_pattern": pattern}
    return Form("C3A", config, tensors, list(branches))


def _hira(branches: Mapping[str, HiRA], places: Mapping[str, Adapted]) -> Form:
    """Return HiRA as HIRA. This type has no scale, so B is multiplied by krona's scale."""
    transposed = is_conv1d(next(iter(places.values())).base)
    config = {"init_weights": True, "hira_dropout": 0.0, "fan_in_fan_out": transposed}
    form = Form("HIRA", config, places=list(places))
    for label, branch in branches.items():
        form.tensors |= {f"{label}.hira_A": branch.A.T, f"{label}.hira_B": branch.scaling * branch.B.T}
    (form.config["r"],) = {branch.A.shape[1] for branch in branches.values()}
    return form


def _vera(branches: Mapping[str, VeRA], places: Mapping[str, Adapted]) -> Form:
    """Return VeRA as VERA. All layers must have the same shape, because this type has only one pair of matrices."""
    first = next(iter(branches.values()))
    config = {
        "r": len(first.d), "projection_prng_key": first.seed, "save_projection": True, "d_initial": first.d_initial,
        "init_weights": True, "vera_dropout": 0.0, "fan_in_fan_out": is_conv1d(next(iter(places.values())).base),
    }  # fmt: skip
    form = Form(
        "VERA", config, places=list(places), shared=dict(zip(("vera_A", "vera_B"), first.factors(), strict=True))
    )
    for label, branch in branches.items():
        form.tensors |= {f"{label}.vera_lambda_d": branch.d, f"{label}.vera_lambda_b": branch.b}
    return form


def _lokr(branches: Mapping[str, nn.Module], given: Mapping[str, Any]) -> Form:
    own = {key: parameter.default for key, parameter in inspect.signature(LoKr).parameters.items()} | dict(given)
    config = {key: own[key] for key in ("decompose_both", "decompose_factor")}
    config |= _rank_settings(dict.fromkeys(branches, (own["rank"], own["alpha"])), "alpha")
    form = Form("LOKR", config, places=list(branches))
    for label, branch in branches.items():
        form.tensors |= {f"{label}.lokr_{key}": p for key, p in branch.named_parameters()}
    return form


def _product(branches: Mapping[str, Kronecker], factor: int) -> Form:
    """Return KronA as LOKR. The rank in the config is so high that peft does not factorise the two matrices."""
    rank = max(math.ceil(max(branch.B.shape) / 2) for branch in branches.values())
    ranks = {label: (rank, branch.scaling * rank) for label, branch in branches.items()}
    config = {"decompose_both": False, "decompose_factor": factor, **_rank_settings(ranks, "alpha")}
    form = Form("LOKR", config, places=list(branches))
    for label, branch in branches.items():
        form.tensors |= {f"{label}.lokr_w1": branch.A.T, f"{label}.lokr_w2": branch.B.T}
    return form


def _decompose_factor(branches: Mapping[str, Any], places: Mapping[str, Adapted]) -> int | None:
    """Return the ``decompose_factor`` for which peft computes the shapes of these factors, or None if there is none."""
    for branch in branches.values():
        if not isinstance(branch, Kronecker) or branch.A.dim() != 2 or branch.residual_scale is not None:
            return None

    def splits(label: str, factor: int) -> bool:
        (a1, a2), (b1, b2) = branches[label].A.shape, branches[label].B.shape
        d_in, d_out = widths(places[label].base)
        return (a1, b1) == split_width(d_in, factor) and (a2, b2) == split_width(d_out, factor)

    sides = sorted(set(next(iter(branches.values())).A.shape), reverse=True)
    return next((factor for factor in (-1, *sides) if all(splits(label, factor) for label in places)), None)


def _rank_settings(ranks: Mapping[str, tuple[int, float]], alpha_key: str) -> dict[str, Any]:
    """Return the most common rank and alpha, and the ``rank_pattern`` and ``alpha_pattern`` of all other modules."""
    # whole numbers are integers in peft's configs
    plain = {place: (rank, int(a) if float(a).is_integer() else a) for place, (rank, a) in ranks.items()}
    (rank, alpha), others = _split_common({"^" + place.replace(".", r"\."): own for place, own in plain.items()})
    patterns = [{place: own[part] for place, own in others.items()} for part in (0, 1)]
    return {"r": rank, alpha_key: alpha, "rank_pattern": patterns[0], "alpha_pattern": patterns[1]}


def _split_common(values: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the most common value, and the items with another value."""
    ((common, _),) = Counter(values.values()).most_common(1)
    return common, {key: value for key, value in values.items() if value != common}
