"""A picture of an inspection: singular values by their index, a panel for each kind of place, colours by depth."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from krona.files import require_new, write_whole
from krona.messages import KronaError, amount
from krona.report.formats.svg.pieces import WIDTH, frame, line, words
from krona.trained.inspect import Inspection, Place

LEFT, RIGHT, GAP, HEIGHT = 74.0, 16.0, 18.0, 150.0
DECADES = 4  # of the axis at most, below the largest singular value
POINTS = 80  # of a line at most
DOTTED = 8  # a line of at most so many singular values has dots
LIGHT, DARK = ("#1f5fbf", "#97508c", "#b86e00"), ("#8ab4ff", "#e29bd0", "#efb118")  # first, middle and last layer


def check(path: Path, *, overwrite: bool) -> None:
    """Raise KronaError for a picture that can't be, or must not be, written."""
    if path.suffix != ".svg":
        raise KronaError(f"--plot {path}: a .svg file")
    require_new(path, overwrite=overwrite)


def write(one: Inspection, path: Path) -> None:
    """Write the picture. Raises KronaError where there is nothing to draw, with the reason."""
    text = render(one)
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def render(one: Inspection) -> str:
    """The picture as SVG, readable on light and dark pages."""
    drawn = [place for place in one.places if place.spectrum is not None and place.spectrum.norm > 0]
    if not drawn:
        why = one.missing or "; ".join(one.notes) or "every update is zero"
        raise KronaError(f"--plot: there are no singular values to draw: {why}")
    kinds: dict[str, list[Place]] = {}
    for place in drawn:
        kinds.setdefault(place.kind, []).append(place)
    layers = sorted({place.layer or 0 for place in drawn})
    axis = _axis(drawn)
    by_layer = all(len(place.spectrum.values) == 1 for place in drawn if place.spectrum)  # LoRA of rank 1
    columns = min(3, len(kinds))
    across = (WIDTH - LEFT - RIGHT - GAP * (columns - 1)) / columns
    parts, top = _head(one, drawn, layers)
    for number, (kind, places) in enumerate(kinds.items()):
        row, column = divmod(number, columns)
        below = number + columns >= len(kinds)  # no panel stands under it
        left, at = LEFT + column * (across + GAP), top + row * (HEIGHT + 58)
        parts += _panel(kind, places, left, at, across, layers, axis, by_layer, named=column == 0, below=below)
    bottom = top + math.ceil(len(kinds) / columns) * (HEIGHT + 58)
    middle = (top + bottom - 58) / 2
    parts.append(
        f'<g transform="translate(16,{middle:.0f}) rotate(-90)">{words(0, 0, "singular value σ", "soft", "middle")}</g>'
    )
    return frame(bottom + 6, [f"<style>{_colours(len(layers))}</style>", *parts])


def _head(one: Inspection, drawn: Sequence[Place], layers: Sequence[int]) -> tuple[list[str], float]:
    """The title and the key of the colours, and where the panels may begin."""
    name = one.origin.run_id if one.origin is not None else str(one.file)
    parts = [words(20, 26, f"Singular values of the updates at {amount(len(drawn), 'place')}", "ink title")]
    parts.append(words(20, 46, name if len(name) <= 96 else f"{name[:95]}…", "soft"))
    step = min(22.0, 264 / len(layers))
    start = 20 + 7 * len("layer 00")
    parts.append(words(20, 70, f"layer {layers[0]}", "soft"))
    for number in range(len(layers)):
        at = start + step * number
        parts.append(f'<rect class="fill l{number}" x="{at:.1f}" y="60" width="{step - 2:.1f}" height="11" rx="2"/>')
    if len(layers) > 1:
        parts.append(words(start + step * len(layers) + 4, 70, f"layer {layers[-1]}", "soft"))
    return parts, 112.0


def _axis(drawn: Sequence[Place]) -> tuple[float, float]:
    """The decades that the axis spans, as exponents of ten."""
    values = [v for place in drawn if place.spectrum for v in place.spectrum.values.tolist() if v > 0]
    high = math.ceil(math.log10(max(values)) * 2) / 2
    low = math.floor(max(math.log10(min(values)), math.log10(max(values)) - DECADES) * 2) / 2
    return (low, high) if high - low >= 1 else (high - 1, high)


def _panel(
    kind: str,
    places: Sequence[Place],
    left: float,
    top: float,
    across: float,
    layers: Sequence[int],
    axis: tuple[float, float],
    by_layer: bool,
    *,
    named: bool,
    below: bool,
) -> list[str]:
    low, high = axis
    count = len(layers) if by_layer else max(len(place.spectrum.values) for place in places if place.spectrum)
    bottom = top + HEIGHT

    def x(index: int) -> float:
        return left + across / 2 if count == 1 else left + 6 + (across - 12) * index / (count - 1)

    def y(value: float) -> float:
        exponent = math.log10(value) if value > 0 else low
        return bottom - (min(max(exponent, low), high) - low) / (high - low) * HEIGHT

    room = int(across / 7)
    parts = [words(left, top - 10, kind if len(kind) <= room else f"…{kind[-room + 1 :]}", "ink")]
    for value, text in _ticks(low, high):
        at = y(value)
        parts.append(line("line", left, at, left + across, at))
        if named:
            parts.append(words(left - 8, at + 4, text, "soft", "end"))
    parts.append(line("line", left, bottom, left + across, bottom))
    for index in sorted({0, count // 2, count - 1} if count > 2 else set(range(count))):
        parts.append(words(x(index), bottom + 17, str(layers[index] if by_layer else index + 1), "soft", "middle"))
    if below:
        title = "layer" if by_layer else "index of the singular value"
        parts.append(words(left + across / 2, bottom + 35, title, "soft", "middle"))
    for place in places:
        number = layers.index(place.layer or 0)
        parts.append(_line(place, number, x, y, low, first=number if by_layer else 0))
    return parts


def _line(
    place: Place, number: int, x: Callable[[int], float], y: Callable[[float], float], low: float, *, first: int
) -> str:
    """A place's singular values down to the axis' end, dots where there are few; its name as the tooltip."""
    assert place.spectrum is not None
    values = [value for value in place.spectrum.values.tolist() if value >= 10**low]
    shown = sorted({round(i * (len(values) - 1) / (POINTS - 1)) for i in range(POINTS)}) if values else []
    points = [(x(first + i), y(values[i])) for i in shown]
    path = "L".join(f"{a:.1f},{b:.1f}" for a, b in points)
    parts = [f"<title>{place.name}</title>"]
    if len(points) > 1:
        parts.append(f'<path d="M{path}" stroke-width="1.3" stroke-linejoin="round"/>')
    if len(values) <= DOTTED:
        parts += [f'<circle class="fill" cx="{a:.1f}" cy="{b:.1f}" r="3" stroke="none"/>' for a, b in points]
    return f'<g class="stroke l{number}">{"".join(parts)}</g>'


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Powers of ten, and 2 and 5 times these where there are few; values and texts."""
    factors = (1, 2, 5) if high - low < 2 else (1,)
    exponents = range(math.floor(low), math.floor(high) + 1)
    values = [factor * 10.0**exponent for exponent in exponents for factor in factors]
    return [(value, _text(value)) for value in values if low <= math.log10(value) + 1e-9 and math.log10(value) <= high]


def _text(value: float) -> str:
    """``0.05``, ``200``, ``1e−4``."""
    return f"{value:g}" if value > 9e-4 else f"{value:.0e}".replace("e-0", "e−").replace("e-", "e−")


def _colours(count: int) -> str:
    """The style of each layer's colour, on light and on dark pages."""
    light, dark = (
        "".join(f".l{i}{{--c:{_between(stops, i / max(1, count - 1))}}}" for i in range(count))
        for stops in (LIGHT, DARK)
    )
    return f"{light}@media (prefers-color-scheme:dark){{{dark}}}"


def _between(stops: Sequence[str], part: float) -> str:
    """A colour between three, by its channels."""
    place = part * (len(stops) - 1)
    first = min(int(place), len(stops) - 2)
    ends = [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops[first : first + 2]]
    mixed = [round(a + (b - a) * (place - first)) for a, b in zip(*ends, strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)
