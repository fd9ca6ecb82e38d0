"""Compare the directions of updates with the singular vectors of the backbone's weights.

An intruder dimension (Shuttleworth et al. 2024, https://arxiv.org/abs/2410.21228) is a top singular vector of the tuned
weight that is not similar to any singular vector of the backbone's weight.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from krona import surgery
from krona.adapters.commands.inspect import place_kind
from krona.adapters.load import load
from krona.adapters.update import weight_update
from krona.messages import KronaError
from krona.surgery.layers import is_conv1d, is_linear
from krona.surgery.state import get_adapter, get_state
from krona.surgery.wrapper import unwrap

TOP = 16  # the number of singular vectors of a weight that are compared
ALIKE = 0.5  # two singular vectors with at least this cosine are considered similar
EXPLAINED = (
    f"share: the part of the squared update within the backbone's {TOP} top singular directions. by chance: the same "
    f"share of a random update. intruders: the number of top singular vectors of the tuned weight that have a cosine "
    f"below {ALIKE} with every singular vector of the backbone's weight."
)


@dataclass(frozen=True)
class Directions:
    """The comparison of an update ΔW with the singular vectors of the weight W.

    Args:
        k: the number of singular vectors that are compared: `TOP`, but at most the smaller width of W.
        share: ‖Uₖᵀ ΔW Vₖ‖² / ‖ΔW‖², where Uₖ and Vₖ are the top k singular vectors of W. It is None for ΔW = 0.
        share_by_chance: the expected share of a random update, k² / (d_out · d_in).
        intruders: the number of the top k left singular vectors of W + ΔW whose cosine with every left singular vector
            of W is below `ALIKE`.
    """

    k: int
    share: float | None
    share_by_chance: float
    intruders: int


@torch.no_grad()
def directions(run: str | Path, *, backbone: str | None = None, outputs: Path | None = None) -> dict[str, Directions]:
    """Return the `Directions` of each linear layer whose weight a run changed, by the layer's name.

    The function loads the backbone's weights, and computes two singular value decompositions in fp32 for each layer.
    After full fine-tuning, it needs the weights of the run (``keep=all``).

    Raises:
        KronaError: the errors of `krona.load`, or no update is a matrix that is added to a linear layer's weight.
    """
    trained = load(run, backbone=backbone, outputs=outputs)
    found = {} if trained.adapter is None else {name: compare(W, D) for name, W, D in _updates(trained.model)}
    if not found:
        raise KronaError(
            f"{trained.origin.run_id} ({trained.origin.method}) has no directions to compare, because no update is a "
            "matrix that is added to a linear layer's weight."
        )
    return found


def compare(W: Tensor, D: Tensor) -> Directions:
    """Compare an update D with the weight W. Both are (d_out, d_in)."""
    k = min(TOP, *W.shape)
    U, _, Vh = torch.linalg.svd(W, full_matrices=False)
    tuned, _, _ = torch.linalg.svd(W + D, full_matrices=False)
    whole = float(D.square().sum())
    within = float((U[:, :k].T @ D @ Vh[:k].T).square().sum())
    alike = (U.T @ tuned[:, :k]).abs().amax(0)
    return Directions(k, within / whole if whole else None, k * k / W.numel(), int((alike < ALIKE).sum()))


def _updates(model: nn.Module) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the name, the weight and the update of each linear layer, in fp32.

    The layers are the linear layers with branches, and the linear layers whose own weight trains.
    """
    for path, adapted in surgery.adapted_modules(model):
        if isinstance(adapted.base, nn.Linear):
            try:
                update = weight_update(adapted)
            except KronaError:  # the update is not equal to a matrix
                continue
            yield surgery.public_name(path), adapted.base.weight.float(), update
    originals = get_state(model).originals
    for name, weight in get_adapter(model, "default").trained.items():
        place, _, attribute = name.rpartition(".")
        layer = unwrap(model.get_submodule(place)) if attribute == "weight" else None
        if layer is not None and is_linear(layer) and place != "lm_head":
            original = originals[name].float()
            update = weight.float() - original
            if is_conv1d(layer):  # GPT-2's weights are transposed
                original, update = original.T, update.T
            yield place, original, update


def rows(found: Mapping[str, Directions], *, every: bool) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the cells of a table.

    Args:
        every: return a row for each module. Otherwise a row contains the means over all modules of one kind.
    """
    heads = ["place", "places", f"share in top {TOP}", "by chance", "intruders"]
    groups: dict[str, list[Directions]] = {}
    for name, one in found.items():
        groups.setdefault(name if every else place_kind(name), []).append(one)
    return heads, [[name, *_cells(group)] for name, group in groups.items()]


def _cells(group: Sequence[Directions]) -> list[str]:
    shares = [one.share for one in group if one.share is not None]
    share = f"{sum(shares) / len(shares):.3g}" if shares else ""
    intruders = sum(one.intruders for one in group) / len(group)
    return [str(len(group)), share, f"{group[0].share_by_chance:.2g}", f"{intruders:.3g} of {group[0].k}"]
