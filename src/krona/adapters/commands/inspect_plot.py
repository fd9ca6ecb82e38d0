"""Draw the charts of `krona inspect --plot`, which show the singular values of the updates.

There is one chart for each kind of module. A chart has one line for each module, and one colour for each layer.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

from krona.adapters.commands.inspect import Inspection, PlaceUpdate
from krona.files import write_whole
from krona.messages import KronaError, amount
from krona.report.charts.chart import Axis, Chart, Marks, Point, Series
from krona.report.charts.looks import Look, mix
from krona.report.charts.picture import Part, picture
from krona.runs.folder import require_new

DECADES = 4  # the y axis ends at most this number of decades below the largest singular value
POINTS = 80  # the maximum number of points of a line
DOTTED = 8  # a line with at most this number of singular values has a dot for each singular value
COLUMNS = 3
LIGHT, DARK = ("#1f5fbf", "#97508c", "#b86e00"), ("#8ab4ff", "#e29bd0", "#efb118")  # the first, middle and last layer


def check(path: Path, *, overwrite: bool) -> None:
    """Raise KronaError if the file's name does not end with .svg, or if it exists and must not be replaced."""
    if path.suffix != ".svg":
        raise KronaError(f"--plot {path} is not the name of a .svg file.")
    require_new(path, overwrite=overwrite)


def write(one: Inspection, path: Path) -> None:
    """Write the chart as an SVG file. Raises KronaError if there are no singular values."""
    text = render(one)
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def render(one: Inspection) -> str:
    """Return the chart as SVG text. Raises KronaError if there are no singular values."""
    places = [place for place in one.places if place.norm]
    if not places:
        why = one.missing or "; ".join(one.notes) or "every update is zero"
        raise KronaError(f"--plot is not possible. There are no singular values to draw: {why}.")
    layers = sorted({place.layer or 0 for place in places})
    looks = {layer: _look(i / max(1, len(layers) - 1)) for i, layer in enumerate(layers)}
    largest = max(value for place in places for value in place.singular_values or ())
    axis = Axis("singular value σ", "log", low=largest / 10**DECADES)
    kinds: dict[str, list[PlaceUpdate]] = {}
    for place in places:
        kinds.setdefault(place.kind, []).append(place)
    charts = [_chart(kind, found, looks, axis) for kind, found in kinds.items()]
    rows: list[Part] = [charts[i : i + COLUMNS] for i in range(0, len(charts), COLUMNS)]
    name = one.origin.run_id if one.origin is not None else str(one.file)
    ends = (layers[0], layers[len(layers) // 2], layers[-1])
    title = f"Singular values of the updates at {amount(len(places), 'place')}"
    return picture(title, [name, {f"layer {layer}": looks[layer] for layer in ends}, *rows])


def _chart(kind: str, places: Sequence[PlaceUpdate], looks: dict[int, Look], values: Axis) -> Chart:
    """Return the chart for one kind of module.

    The x axis is the index of the singular value. If every update has only one singular value, the x axis is the layer.
    """
    by_layer = max(len(place.singular_values or ()) for place in places) == 1
    series = []
    for place in places:
        found = place.singular_values or []
        shown = sorted({round(i * (len(found) - 1) / (POINTS - 1)) for i in range(POINTS)})
        points = [
            Point((place.layer or 0) if by_layer else i + 1, found[i], text=f"{place.place}: σ{i + 1} = {found[i]:.3g}")
            for i in shown if found[i] > 0
        ]  # fmt: skip
        points = [*itertools.takewhile(lambda point: point.y >= (values.low or 0), points)] or points[:1]
        marks: Marks = "all" if len(found) <= DOTTED else "none"
        series.append(Series(place.place, looks[place.layer or 0], points, line=True, marks=marks))
    axis = Axis("layer" if by_layer else "index of the singular value", "whole")
    return Chart(kind, axis, values, series)


def _look(share: float) -> Look:
    return Look(mix(LIGHT, share), mix(DARK, share))
