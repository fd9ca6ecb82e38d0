"""Forms of peft that an adapter fits: LORA, IA3, LOKR, MISS, C3A, LN_TUNING, or the reason why none does."""

import inspect
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from krona.adapters.peft.names import norm_modules
from krona.messages import KronaError
from krona.methods.c3a import C3A
from krona.methods.ia3 import IA3
from krona.methods.kronecker import Kronecker
from krona.methods.lokr import LoKr, split
from krona.methods.lora import LoRA
from krona.methods.miss import MiSS
from krona.surgery.layers import is_conv1d, is_linear
from krona.surgery.low_rank import low_rank
from krona.surgery.targets import widths
from krona.surgery.wrapper import Adapted, adapted_modules, adapter_named, public_name

INSTEAD = (
    "peft has no form for it. surgery.bake(model) merges what is linear, and "
    "krona.adapters.file.save_adapter(model, FILE) keeps everything"
)


@dataclass
class Form:
    peft_type: str
    config: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    feedforward: list[str] | None = None  # (IA)³: places whose input is scaled
    ranks: dict[str, tuple[int, float]] = field(default_factory=dict)  # r and alpha of each place
    alpha_key: str = "lora_alpha"


@dataclass(frozen=True)
class At:
    """One place of the adapter: its public name, the wrapper and the branches."""

    label: str
    adapted: Adapted
    branches: list[nn.Module]

    @property
    def only(self) -> nn.Module | None:
        return self.branches[0] if len(self.branches) == 1 else None


def form_of(model: nn.Module, name: str) -> Form:
    """The adapter in peft's terms, tensors without peft's prefix."""
    adapter = adapter_named(model, name)
    if getattr(adapter.branch, "existing", None) is not None:
        raise KronaError(f"{_kind(adapter.branch)} trains biases alone: {INSTEAD}")
    places = [
        At(public_name(place), adapted, list(adapted.branches[name].children()))
        for place, adapted in adapted_modules(model)
        if name in adapted.branches
    ]
    if not places:
        return _norms(model, adapter.trained)
    for at in places:
        _check(at, name)
    if all(isinstance(at.only, IA3) for at in places):
        return _ia3(places, name)
    for at in places:
        if at.adapted.places[name].placement != "parallel":
            raise KronaError(f"the branch at {at.label} acts {at.adapted.places[name].placement} the layer: {INSTEAD}")
    plain = all(isinstance(at.adapted.base, nn.Linear) and name not in at.adapted.magnitudes for at in places)
    own = (_lokr(places, adapter.branch_config) or _miss(places) or _c3a(places)) if plain else None
    return own or _lora(places, name)


def _check(at: At, name: str) -> None:
    kinds = " and ".join(sorted({_kind(type(branch)) for branch in at.branches}))
    if name in at.adapted.captures or not is_linear(at.adapted.base):
        block = "a whole block" if name in at.adapted.captures else f"a {type(at.adapted.base).__name__}"
        raise KronaError(f"{kinds} at {at.label} stands at {block} and no linear layer: {INSTEAD}")
    for branch in at.branches:
        if not hasattr(branch, "delta"):
            raise KronaError(f"{kinds} at {at.label} is not linear in its input: {INSTEAD}")
        if isinstance(branch, Kronecker) and (branch.bias is not None or branch.non_linearity is not None):
            what = "a bias" if branch.non_linearity is None else "a non-linearity"
            raise KronaError(f"{kinds} at {at.label} has {what}: {INSTEAD}")


def _kind(branch: Any) -> str:
    return getattr(branch, "__name__", repr(branch))


def _norms(model: nn.Module, trained: dict[str, nn.Parameter]) -> Form:
    norms = norm_modules(model)
    own = {key: p for key, p in trained.items() if key.rpartition(".")[0] in norms}
    tensors: dict[str, Tensor] = {}
    for key, p in own.items():
        module, _, last = key.rpartition(".")
        tensors[f"{module}.ln_tuning_layers.{last}"] = p
    return Form("LN_TUNING", tensors=tensors, places=list(dict.fromkeys(key.rpartition(".")[0] for key in own)))


def _ia3(places: Sequence[At], name: str) -> Form:
    form = Form("IA3", {"fan_in_fan_out": is_conv1d(places[0].adapted.base)}, feedforward=[])
    assert form.feedforward is not None
    for at in places:
        how = at.adapted.places[name]
        if how.placement == "parallel" or how.inner_residual:
            raise KronaError(f"(IA)³ at {at.label} does not stand in the place of what it scales: {INSTEAD}")
        before = how.placement == "before"
        scale: Any = at.branches[0].scale
        form.places.append(at.label)
        form.tensors[f"{at.label}.ia3_l"] = scale[None] if before else scale[:, None]
        if before:
            form.feedforward.append(at.label)
    return form


def _lora(places: Sequence[At], name: str) -> Form:
    dora, transposed = name in places[0].adapted.magnitudes, is_conv1d(places[0].adapted.base)
    form = Form("LORA", {"bias": "none", "lora_dropout": 0.0, "use_dora": dora, "fan_in_fan_out": transposed})
    for at in places:
        only, (d_in, d_out) = at.only, widths(at.adapted.base)
        if isinstance(only, LoRA):
            down, up, scaling = only.A.T, only.B.T, only.scaling
        else:
            down, up = low_rank(at.label, at.branches, d_in, d_out)
            scaling = 1.0
        form.places.append(at.label)
        form.tensors[f"{at.label}.lora_A.weight"] = down
        form.tensors[f"{at.label}.lora_B.weight"] = up
        form.ranks[at.label] = (len(down), _number(scaling * len(down)))
        if name in at.adapted.magnitudes:
            form.tensors[f"{at.label}.lora_magnitude_vector"] = at.adapted.magnitudes[name].get_parameter("magnitude")
    return form


def _miss(places: Sequence[At]) -> Form | None:
    if not all(isinstance(at.only, MiSS) for at in places):
        return None
    form = Form("MISS", {"init_weights": True, "miss_dropout": 0.0})
    for at in places:
        branch: Any = at.only
        form.places.append(at.label)
        form.tensors[f"{at.label}.miss_block"] = branch.matrix()
        form.config["r"] = len(branch.D)
    return form


def _c3a(places: Sequence[At]) -> Form | None:
    if not all(isinstance(at.only, C3A) for at in places):
        return None
    form = Form("C3A", {"init_weights": True})
    sizes: dict[str, int] = {}
    for at in places:
        branch: Any = at.only
        form.places.append(at.label)
        form.tensors[f"{at.label}.c3a_kernel"] = branch.scaling * branch.kernels
        sizes[at.label] = branch.kernels.shape[2]
    ((size, _),) = Counter(sizes.values()).most_common(1)
    form.config["block_size"] = size
    form.config["block_size_pattern"] = {place: own for place, own in sizes.items() if own != size}
    return form


def _lokr(places: Sequence[At], given: Mapping[str, Any]) -> Form | None:
    """LoKr, or a product of two matrices of the shapes that peft's rule gives every place; None if it is not so."""
    form = Form("LOKR", alpha_key="alpha", places=[at.label for at in places])
    if all(isinstance(at.only, LoKr) for at in places):
        own = {key: parameter.default for key, parameter in inspect.signature(LoKr).parameters.items()} | dict(given)
        form.config = {key: own[key] for key in ("decompose_both", "decompose_factor")}
        for at in places:
            form.ranks[at.label] = (own["rank"], _number(own["alpha"]))
            form.tensors |= {f"{at.label}.lokr_{key}": p for key, p in at.branches[0].named_parameters()}
        return form
    products = [(at, at.only) for at in places if isinstance(at.only, Kronecker) and at.only.A.dim() == 2]
    products = [(at, one) for at, one in products if one.residual_scale is None]
    factor = _decompose_factor(products)
    if len(products) < len(places) or factor is None:
        return None
    rank = max(math.ceil(max(one.B.shape) / 2) for _, one in products)  # so that peft makes full matrices
    form.config = {"decompose_both": False, "decompose_factor": factor}
    for at, one in products:
        form.tensors |= {f"{at.label}.lokr_w1": one.A.T, f"{at.label}.lokr_w2": one.B.T}
        form.ranks[at.label] = (rank, _number(one.scaling * rank))
    return form


def _decompose_factor(products: Sequence[tuple[At, Kronecker]]) -> int | None:
    """The ``decompose_factor`` whose rule gives every place the factors that it has."""
    if not products:
        return None
    first = products[0][1].A.shape
    for factor in (-1, *sorted(set(first), reverse=True)):
        if all(_splits(one, widths(at.adapted.base), factor) for at, one in products):
            return factor
    return None


def _splits(branch: Kronecker, width: tuple[int, int], factor: int) -> bool:
    (a1, a2), (b1, b2) = branch.A.shape, branch.B.shape
    return (a1, b1) == split(width[0], factor) and (a2, b2) == split(width[1], factor)


def _number(value: float) -> float:
    """A whole number without its point, as peft's configs have it."""
    return int(value) if float(value).is_integer() else value
