"""The options of `surgery.insert`: where branches are placed and what trains beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Placement = Literal["parallel", "sequential", "before"]


@dataclass(frozen=True, kw_only=True)
class InsertOptions:
    """Options of `surgery.insert`, which takes each as a keyword argument.

    Args:
        target_modules: names of modules, or patterns over them (`krona.surgery.targets`).
        placement: where the branches act: ``parallel`` (y + branch(x)), ``sequential`` (y + branch(y)) or ``before``
            (x + branch(x), then the module). One value for all patterns, or a list with one value for each.
        inner_residual: if false, ``sequential`` and ``before`` use the branch's output alone, without adding y or x.
        modules_per_target: the number of branches at each place (KronA^B has two at each FFN).
        magnitude: add DoRA's magnitude to the linear layers that carry branches.
        train_layer_norms: train all normalisations too (47,616 weights on T5-base; docs/fidelity.md explains why).
        train_backbone: train everything (full fine-tuning).
        head: modules that are new for each task (``["classifier"]``). They train with every method.
    """

    target_modules: Sequence[str] = ()
    placement: Placement | Sequence[Placement] = "parallel"
    inner_residual: bool = True
    modules_per_target: int = 1
    magnitude: bool = False
    train_layer_norms: bool = True
    train_backbone: bool = False
    head: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the options for an adapter's file: plain lists, and ``head`` only if there is one."""
        recorded = {
            **vars(self),
            "target_modules": list(self.target_modules),
            "placement": self.placement if isinstance(self.placement, str) else list(self.placement),
            "head": list(self.head),
        }
        if not self.head:
            del recorded["head"]
        return recorded


def list_placements(options: Mapping[str, Any]) -> list[Any]:
    """Return the placement for each pattern of ``target_modules``."""
    placement = options.get("placement", "parallel")
    return [placement] * len(options.get("target_modules", ())) if isinstance(placement, str) else list(placement)
