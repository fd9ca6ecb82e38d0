"""Read from a branch's weights how its input becomes its output."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from drawing.picture import symbol, text_width

SHORT = 7  # letters of a formula that fits a small box


@dataclass(frozen=True)
class Weight:
    """A weight of (rows, columns), or a stack of ``copies`` such weights."""

    name: str
    rows: int
    columns: int
    copies: int = 1
    diagonal: bool = False  # the copies are the blocks of one matrix; otherwise they are summed


Step = list[Weight | str]  # a map from one width to another: weights, with ⊗ and brackets between them


def find_steps(weights: Sequence[Weight], shared: Sequence[Weight], start: int, end: int) -> list[Step] | None:
    """Find the steps that map width ``start`` to ``end`` with all ``weights`` in order, or None if there are none.

    A step is a matrix, a block-diagonal matrix, or a Kronecker product whose second (or first) factor may be a product
    of two. ``shared`` weights may stand as the first factor of any step.
    """
    if not weights:
        return [] if start == end else None
    counts = range(1, min(3, len(weights)) + 1)
    for count in reversed(counts) if shared else counts:
        for step, columns in _readings(weights[:count], shared, start):
            if (others := find_steps(weights[count:], shared, columns, end)) is not None:
                return [step, *others]
    return None


def _readings(weights: Sequence[Weight], shared: Sequence[Weight], start: int) -> Iterator[tuple[Step, int]]:
    """Yield each step that these weights can form, with its output width."""
    for all_of_them in (*([one, *weights] for one in shared), weights):
        for cut in range(1, len(all_of_them)):
            if max(cut, len(all_of_them) - cut) > 2:
                continue
            left, right = _product(all_of_them[:cut]), _product(all_of_them[cut:])
            if left and right and left[0] * right[0] == start:
                yield [*_bracketed(all_of_them[:cut]), "⊗", *_bracketed(all_of_them[cut:])], left[1] * right[1]
    if len(weights) == 1:
        (one,) = weights
        if one.rows == start:
            yield [one], one.columns
        if one.copies > 1 and one.rows * one.copies == start:
            block = Weight(one.name, one.rows, one.columns, one.copies, diagonal=True)
            yield [block], one.columns * one.copies


def _product(weights: Sequence[Weight]) -> tuple[int, int] | None:
    """Return the shape of the product, or None if the inner sides differ."""
    fits = all(a.columns == b.rows for a, b in itertools.pairwise(weights))
    return (weights[0].rows, weights[-1].columns) if fits else None


def _bracketed(weights: Sequence[Weight]) -> Step:
    return ["(", *weights, ")"] if len(weights) > 1 else [*weights]


def read_weight(name: str, value: Tensor, *, turned: bool = False) -> Weight:
    """Return a parameter as a `Weight`. ``turned``: it is stored as (columns, rows)."""
    rows, columns = value.shape[-2:][::-1] if turned else value.shape[-2:]
    return Weight(name, rows, columns, value.shape[0] if value.dim() == 3 else 1)


@dataclass
class Branch:
    """A branch for its drawing. ``steps`` is None if the shapes do not give the order of the weights."""

    steps: list[Step] | None
    weights: list[Weight]
    vectors: list[tuple[str, int]]
    formula: str  # of the class's docstring
    start: int  # the width of its input
    several: bool = False  # lists of weights, of which the first ones are drawn
    frozen: str = ""  # the product of the copies of the initial weights, which is subtracted

    @classmethod
    def of(cls, module: Any, d_in: int, d_out: int) -> "Branch":
        own = dict(module.named_parameters())
        several = any(name.endswith(".1") for name in own)
        own = {name.replace(".0", "_1"): value for name, value in own.items() if not re.search(r"\.[1-9]", name)}
        named = {name if several else name.replace("_", " "): value for name, value in own.items()}
        vectors = [(name, len(value)) for name, value in named.items() if value.dim() == 1]
        steps, weights = None, []
        for turned, (start, end) in ((False, (d_in, d_out)), (True, (d_in, d_out))):
            found = {n: read_weight(n, value, turned=turned) for n, value in named.items() if value.dim() > 1}
            shared = [found.pop(name) for name in module.shared if name in found]
            weights = weights or [*shared, *found.values()]
            steps = steps or find_steps(list(found.values()), shared, start, end) or None
        found_formula = re.search(r"``(.+?)``", type(module).__doc__ or "")
        formula = re.sub(r"_(\w+)", r"_{\1}", found_formula[1]) if found_formula else type(module).__name__
        if not weights and len(formula) < SHORT:
            vectors = [(formula.split()[0], length) for _, length in vectors]
        if steps is None and len(weights) == 1 and (letter := re.search(r"\((\w)\)", formula)):
            weights = [replace(weights[0], name=letter[1])]  # as the formula has it
        if module.defines("bind"):
            steps = None  # the update also depends on the weight of the layer, as the formula says
        frozen = " ".join(re.sub(r"(\d)", r"_{\1}", name) for name, _ in module.named_buffers())
        return cls(steps, weights, vectors, formula, d_in, several, frozen)

    def mixing(self, number: int) -> str:
        """Return the fixed permutation after a block-diagonal step that the docstring's formula names, or nothing."""
        diagonal = any(isinstance(one, Weight) and one.diagonal for one in (self.steps or [])[number])
        name = "P′" if number == len(self.steps or []) - 1 else "P"
        return name if diagonal and re.search(rf" {name.replace('′', chr(39))}(?= |$)", self.formula) else ""

    def short(self, *, non_linear: bool) -> str:
        """Return the text for a small box. ``non_linear``: a non-linearity is between the steps."""
        if non_linear and self.steps and len(self.steps) > 1:
            return "↓ σ ↑"
        if not self.weights:
            return self.formula if len(self.formula) < SHORT else ", ".join(name for name, _ in self.vectors)
        words = " ".join(one if isinstance(one, str) else symbol(one.name) for step in self.steps or () for one in step)
        return words if 0 < text_width(words) < 76 else "ΔW"

    def equation(self, method: dict[str, Any], x: str) -> str:
        """Return the branch's equation for ``x``, or the docstring's formula if the order of the weights is unknown."""
        if not self.weights and "⊙" in self.formula:
            return f"{self.vectors[0][0]} ⊙ {x}"
        if not self.weights or not self.steps or self.several:
            update = self.formula.startswith("ΔW = ")
            return f"{x} ΔWᵀ,  {self.formula}" if update else self.formula
        lengths, biases = [length for _, length in self.vectors], []
        for step in self.steps:
            biases.append(width_after(step) in lengths)
            if biases[-1]:
                lengths.remove(width_after(step))
        made, non_linear = x, method.get("non_linearity")
        for number, step in enumerate(self.steps):
            words = " ".join(one if isinstance(one, str) else symbol(one.name) for one in step)
            words = words.replace("( ", "(").replace(" )", ")")
            words += f" {mixing}" if (mixing := self.mixing(number)) else ""
            summed = any(isinstance(one, Weight) and one.copies > 1 and not one.diagonal for one in step)
            words = f"(Σ_{{i}} {words})" if summed else f"({words})" if "⊗" in words else words
            made = f"{f'σ({made})' if number and non_linear else made} {words}" + (" + b" if biases[number] else "")
        if self.frozen:
            made += f" - {x} {self.frozen}"
        scaled = float(method.get("scaling", 1)) != 1 or bool(method.get("rank_stabilised"))
        made = (f"s ({made})" if re.search(" [+-] ", made) else f"s {made}") if scaled else made
        return made + {"scale": f" + s_{{res}} {x}", "sigmoid": f" + σ(s_{{res}}) {x}"}.get(
            str(method.get("residual")), ""
        )


def width_after(step: Step) -> int:
    """Return the output width of a step."""
    columns, last = 1, None
    for one in step:
        if isinstance(one, Weight):
            last = one.columns * (one.copies if one.diagonal else 1)
        elif one == "⊗" and last:
            columns, last = columns * last, None
    return columns * (last or 1)
