"""Forwards that give each row of a batch its own adapter: of a place with branches, and of a module whose own weights
train (`surgery.mixed`)."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from krona.kernels.t5_modules import RootMeanSquareNorm
from krona.methods.inference_parts import Affine, Parts
from krona.methods.magnitude import length
from krona.surgery.branches import delta_of
from krona.surgery.layers import is_linear, matrix_of
from krona.surgery.mixed_parts import applied, kind_of, mark_of
from krona.surgery.mixed_rows import Cached, Name, Rows
from krona.surgery.wrapper import Adapted, Place


class Capture:
    """The input of a part of the model whose end carries branches."""

    def __init__(self, first: nn.Module) -> None:
        self.first, self.x = first, None
        self.handle = first.register_forward_pre_hook(self)

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.x = inputs[0]


@dataclass
class Group:
    """Rows that take the same steps at a place."""

    how: Place
    rows: Tensor | None  # their numbers; None: all
    capture: Capture | None
    steps: Sequence[nn.Module | Parts]
    magnitude: Parts | None

    def changed(self, y: Tensor, x: Tensor) -> Tensor:
        """y with this group's branches in its rows; x: the input of parallel ones."""
        rows = self.rows
        h = y if rows is None else y.index_select(0, rows)
        if self.how.placement == "parallel":
            x = x if rows is None else x.index_select(0, rows)
            for step in self.steps:
                h = h + _through(step, x)
        else:
            for step in self.steps:
                h = h + _through(step, h) if self.how.inner_residual else _through(step, h)
        if self.magnitude is not None:
            h = applied(self.magnitude, h)
        h = h.to(y.dtype)
        return h if rows is None else y.index_copy(0, rows, h)


def _through(step: nn.Module | Parts, x: Tensor) -> Tensor:
    out: Tensor = step(x) if isinstance(step, nn.Module) else applied(step, x)
    return out


class PlaceByRow(Cached):
    """The forward of a place: its base once for all rows, then the branches of each adapter on its own."""

    module: Adapted

    def __init__(self, rows: Rows, where: str, adapted: Adapted, bias: str | None) -> None:
        super().__init__(rows, where, adapted)
        self.bias = bias  # the public name of the base's, if an adapter trains it
        firsts = {id(entrance.first): entrance.first for entrance in adapted.entrances.values()}
        self.captures = [Capture(first) for first in firsts.values()]
        self.kinds: dict[str, Hashable] = {}
        self.slots: dict[Name, list[tuple[dict[str, Any], str]]] = {}  # where an adapter's weights and scales are held

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.rows.check(self.where, self.module, x)
        groups: list[Group] = self.current(x)
        for group in groups:
            if group.how.placement == "before":
                x = group.changed(x, x)
        output = self.module.base(x, *args, **kwargs)
        y = output[0] if isinstance(output, tuple) else output
        for group in groups:
            if group.how.placement != "before":
                y = group.changed(y, x if group.capture is None else group.capture.x)  # type: ignore[arg-type]
        for capture in self.captures:
            capture.x = None
        for entrance in self.module.entrances.values():  # the active adapter's has caught the input too
            entrance.x = None
        return (y, *output[1:]) if isinstance(output, tuple) else y

    def make(self, x: Tensor) -> list[Group]:
        """Adapters of one kind by stacked weights; one alone, and branches without parts, by their own modules."""
        groups: dict[Hashable, list[str]] = {}
        for name in self.rows.used:
            if name is not None and name in self.module.places:
                groups.setdefault(self._kind(name), []).append(name)
        return [self._group(kind, names, x) for kind, names in groups.items()]

    def _group(self, kind: Hashable, names: list[str], x: Tensor) -> Group:
        adapted, first = self.module, names[0]
        entrance, alike = adapted.entrances.get(first), [name for name in adapted.places if self._kind(name) == kind]
        capture = next((c for c in self.captures if entrance is not None and c.first is entrance.first), None)
        steps: list[Any] = list(adapted.branches[first].children())
        if len(names) > 1:
            steps = self.gather(kind, alike, names, self._parts, x)
        magnitude = None
        if first in adapted.magnitudes:
            (magnitude,) = self.gather(("magnitude", kind), alike, names, lambda name: [self._magnitude(name)], x)
        return Group(adapted.places[first], self.rows.of(names, x), capture, steps, magnitude)

    def _kind(self, name: str) -> Hashable:
        """What adapters must have in common to be computed together here."""
        if name not in self.kinds:
            adapted, entrance = self.module, self.module.entrances.get(name)
            how = adapted.places[name], None if entrance is None else id(entrance.first), name in adapted.magnitudes
            has_parts = all(hasattr(branch, "parts") for branch in adapted.branches[name].children())
            self.kinds[name] = *how, *(map(kind_of, self._parts(name)) if has_parts else (name,))
        return self.kinds[name]

    def _parts(self, name: str) -> list[Parts]:
        return [branch.parts() for branch in list[Any](self.module.branches[name].children())]

    def _magnitude(self, name: str) -> Affine:
        """A magnitude as a scale and a shift of the layer's output."""
        adapted = self.module
        deltas = [delta_of(self.where, branch) for branch in adapted.branches[name].children()]
        weight: Any = adapted.magnitudes[name].magnitude
        scale = weight / length(matrix_of(adapted.base), sum(deltas[1:], deltas[0]))
        bias = self.rows.weight(name, adapted.base, "bias", self.bias)
        return Affine(scale, None if bias is None else bias * (1 - scale))

    def mark(self, name: Name) -> list[Any]:
        if name is None:
            return []
        if name not in self.slots:
            held = [holder[name] for holder in (self.module.branches, self.module.magnitudes) if name in holder]
            modules = [module for one in held for module in one.modules()]
            self.slots[name] = [(module._parameters, key) for module in modules for key in module._parameters]
            self.slots[name] += [(module.__dict__, "scaling") for module in modules if "scaling" in module.__dict__]
        values = [holder[key] for holder, key in self.slots[name]]
        return [mark_of(value) if isinstance(value, Tensor) else value for value in values]


class WeightsByRow(Cached):
    """The forward of a module of the backbone whose own weights train with an adapter.

    A normalisation, and a linear layer whose bias alone trains, run once: what is each row's own is a scale and a shift
    of the output. Another module runs once for each adapter, on its rows.
    """

    def __init__(self, rows: Rows, where: str, module: nn.Module, trained: dict[str, str]) -> None:
        super().__init__(rows, where, module)
        self.trained = trained  # attribute → public name
        self.plain = module.__dict__.get("forward", partial(type(module).forward, module))
        self.own = {attribute for attribute, value in module._parameters.items() if value is not None}
        norm = isinstance(module, (nn.LayerNorm, nn.RMSNorm, RootMeanSquareNorm))
        self.is_affine = norm or (is_linear(module) and trained.keys() == {"bias"})
        self.apart = self.own if norm else set(trained)  # what is left out of the one run

    def __call__(self, x: Tensor) -> Tensor:
        self.rows.check(self.where, self.module, x)
        made = self.current(x)
        if isinstance(made, Affine):
            own = {a: self.module.get_parameter(a) for a in self.apart}
            neutral = {a: torch.ones_like(w) if a == "weight" else torch.zeros_like(w) for a, w in own.items()}
            return applied(made, self._run(neutral, x))
        out: Tensor | None = None
        for name, rows in made:
            weights = {a: self._weight(name, a) for a in self.trained}
            if rows is None:
                return self._run(weights, x)
            part = self._run(weights, x.index_select(0, rows))
            out = part.new_empty(len(x), *part.shape[1:]) if out is None else out
            out.index_copy_(0, rows, part)
        assert out is not None
        return out

    def make(self, x: Tensor) -> Affine | list[tuple[Name, Tensor | None]]:
        alike: dict[tuple[int, ...], list[Name]] = {}
        for name in self.rows.used:
            alike.setdefault(tuple(id(self._weight(name, a)) for a in self.trained), []).append(name)
        if not self.is_affine or len(alike) == 1:
            return [(names[0], self.rows.of(names, x)) for names in alike.values()]
        adapters = (None, *self.rows.adapters)
        (found,) = self.gather("affine", adapters, self.rows.used, lambda name: [self._affine(name)], x)
        assert isinstance(found, Affine)
        return found

    def _weight(self, name: Name, attribute: str) -> Tensor | None:
        return self.rows.weight(name, self.module, attribute, self.trained.get(attribute))

    def _affine(self, name: Name) -> Affine:
        scale, shift = (self._weight(name, a) if a in self.apart else None for a in ("weight", "bias"))
        return Affine(scale, shift)

    def mark(self, name: Name) -> list[Any]:
        weights = [self._weight(name, attribute) for attribute in sorted(self.apart)]
        return [mark_of(weight) for weight in weights if weight is not None]

    def _run(self, weights: Mapping[str, Tensor | None], x: Tensor) -> Tensor:
        with _parameters(self.module, weights):
            out: Tensor = self.plain(x)
        return out


@contextmanager
def _parameters(module: nn.Module, others: Mapping[str, Any]) -> Iterator[None]:
    """Other weights in the place of a module's own."""
    own = {attribute: module._parameters[attribute] for attribute in others}
    module._parameters.update(others)
    try:
        yield
    finally:
        module._parameters.update(own)
