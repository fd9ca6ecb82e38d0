"""Folding of branches beside a ReLU FFN into the FFN: a wider one of plain modules, with the same outputs.

A T5's FFN is ``W_out relu(W_in x)`` without biases. A branch ``U relu(V x)`` beside it is more rows of ``W_in`` and
columns of ``W_out``; a linear one is ``U V x = U relu(V x) − U relu(−V x)``, two units for each of its rank. All FFNs
of a model have one width, ``config.d_ff``: the others are filled up with zeros. Where the folded model trains on, the
FFN's inner dropout takes out units of the branches too.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.messages import KronaError
from krona.methods.kronecker import Kronecker, kron_product
from krona.methods.parallel_adapter import ParallelAdapter
from krona.surgery.leaving import require_one, unwrap
from krona.surgery.low_rank import low_rank
from krona.surgery.merging import merged_weight
from krona.surgery.targets import widths
from krona.surgery.wrapper import Adapted, Inserted, adapted_modules, base_of, public_name, state_of

KEEP = "krona.adapters.file.save_adapter(model, FILE) keeps the adapter as it is"


@dataclass(frozen=True)
class Folded:
    """Width of the FFNs (``d_ff``) before and after; ``widest`` is the place that asked for the new one."""

    old_width: int
    new_width: int
    widest: str


@torch.no_grad()
def fold(model: nn.Module, name: str | None = None) -> Folded:
    """Write the active adapter (or that one) into wider FFNs for good; branches at linear layers are merged.

    For PA with ReLU, KronA^B and KronA^B_res, and any linear branch, beside a T5's ReLU FFN. ``save_pretrained`` then
    writes a checkpoint that plain transformers loads with the same outputs, up to rounding. Nothing undoes it.

    Raises:
        KronaError: what no ReLU FFN without biases can hold, with the reason, or another adapter in the model. The
            model is untouched then.
    """
    name = _only(state_of(model), name)
    places = {place: adapted for place, adapted in adapted_modules(model) if name in adapted.branches}
    wider = {place: adapted for place, adapted in places.items() if _is_ffn(adapted.base)}
    for place, adapted in places.items():
        if place not in wider:
            _refuse_block(public_name(place), adapted, name)
    if not wider:
        raise KronaError(f"adapter {name!r} has no branch beside an FFN: surgery.bake(model) merges it")
    units = {place: _units_at(public_name(place), adapted, name) for place, adapted in wider.items()}
    merged = {p: merged_weight(p, adapted, name) for p, adapted in places.items() if p not in wider}
    ffns = {place: module for place, module in model.named_modules() if _is_ffn(module)}
    (old,) = {_linear(ffn, "wi").out_features for ffn in ffns.values()}
    more = {place: len(rows) for place, (rows, _) in units.items()}
    widest = max(more, key=lambda place: more[place])
    for place, weight in merged.items():
        base: Any = places[place].base
        base.weight = nn.Parameter(weight, requires_grad=False)
    for place, ffn in ffns.items():
        _widen(ffn, units.get(place.removesuffix(".base")), old + more[widest])
    unwrap(model)
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if hasattr(config, "d_ff"):
            config.d_ff = old + more[widest]
    return Folded(old, old + more[widest], public_name(widest))


def _only(state: Inserted, name: str | None) -> str:
    require_one(state)
    if state.merged is not None:
        raise KronaError(f"adapter {state.merged!r} is merged into the weights: surgery.unmerge(model) first")
    if state.active is None or name not in (None, state.active):
        raise KronaError(f"adapter {name!r} is not the active one: surgery.activate(model, NAME) first")
    return state.active


def _is_ffn(module: nn.Module) -> bool:
    """Whether it is a T5's FFN, gated ones and other activations included. A wrapper is none: its base is."""
    return not isinstance(module, Adapted) and hasattr(module, "wo") and hasattr(module, "act")


def _linear(ffn: nn.Module, name: str) -> nn.Linear:
    layer = base_of(getattr(ffn, name))
    assert isinstance(layer, nn.Linear)
    return layer


def _refuse_block(label: str, adapted: Adapted, name: str) -> None:
    if name in adapted.entrances:
        raise KronaError(
            f"the branch that ends at {label} is beside an FFN of several modules; only T5's, which is one module with "
            f"a ReLU and no gate, is widened: {KEEP}"
        )


def _units_at(label: str, adapted: Adapted, name: str) -> tuple[Tensor, Tensor]:
    """(units, d_in) and (d_out, units): the ReLU units that compute what the branches at an FFN add."""
    ffn, how = adapted.base, adapted.places[name]
    if not hasattr(ffn, "wi"):
        raise KronaError(f"{label} is a gated FFN: its units are products, and a branch beside it is none: {KEEP}")
    act: Any = ffn.act
    if not isinstance(act, nn.ReLU):
        raise KronaError(f"{label} has {type(act).__name__} and no ReLU, which a linear branch needs: {KEEP}")
    if how.placement != "parallel":
        where = "after" if how.placement == "sequential" else "before"
        raise KronaError(f"the branch at {label} is a layer {where} the FFN and not beside it: {KEEP}")
    linear: list[nn.Module] = []
    rows, columns = [], []
    for branch in adapted.branches[name].children():
        found = _relu_units(branch)
        _refuse_biases(label, branch)
        if found is None:
            linear.append(branch)
        else:
            rows.append(found[0])
            columns.append(found[1])
    if linear:
        V, U = low_rank(label, linear, *widths(ffn))
        rows += [V, -V]
        columns += [U, -U]
    return torch.cat(rows), torch.cat(columns, dim=1)


def _relu_units(branch: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Of a branch that is ReLU units itself; None for a linear one."""
    non_linearity = getattr(branch, "non_linearity", None)
    if non_linearity is not None and non_linearity is not F.relu:
        raise KronaError(f"the {type(branch).__name__}'s non-linearity is no ReLU, and the FFN's is: {KEEP}")
    if isinstance(branch, ParallelAdapter):
        return branch.down.T, branch.scaling * branch.up.T
    if isinstance(branch, Kronecker) and non_linearity is not None:
        if branch.residual_scale is not None:
            raise KronaError(f"a Kronecker branch with a non-linearity and a residual is two branches: {KEEP}")
        A, B = (p if p.dim() == 3 else p[None] for p in (branch.scaling * branch.A, branch.B))
        one_a, one_b = (torch.eye(n, dtype=A.dtype, device=A.device) for n in (A.shape[1], B.shape[2]))
        return (
            torch.cat([kron_product(one_a, b).T for b in B]),  # X B as a1 · b2 units
            torch.cat([kron_product(a, one_b).T for a in A], dim=1),
        )
    return None


def _refuse_biases(label: str, branch: nn.Module) -> None:
    for key, p in branch.named_parameters():
        if key.endswith("bias") and p.abs().max() > 0:
            raise KronaError(
                f"the {type(branch).__name__} at {label} has a {key} (largest value {float(p.abs().max()):.3g}), and "
                f"T5's FFN has no biases to hold it: {KEEP}"
            )


def _widen(ffn: nn.Module, units: tuple[Tensor, Tensor] | None, width: int) -> None:
    wi, wo = _linear(ffn, "wi"), _linear(ffn, "wo")
    rows, columns = units if units is not None else (wi.weight[:0], wo.weight[:, :0])
    into = torch.cat([wi.weight, rows.to(wi.weight)])
    out = torch.cat([wo.weight, columns.to(wo.weight)], dim=1)
    more = width - len(into)
    wi.weight = nn.Parameter(F.pad(into, (0, 0, 0, more)), requires_grad=False)
    wo.weight = nn.Parameter(F.pad(out, (0, more)), requires_grad=False)
    wi.out_features = wo.in_features = width
