"""Draw the charts of a report as matplotlib figures, and write them as SVG for light and dark pages."""

import html
import io
import math
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from krona.messages import escape_control_characters, shorten
from krona.report.costs import CHARTED, MAX_LOAD, find_quantity, summarize
from krona.report.pairs import ALPHA, format_interval, shorten_names
from krona.report.table import AVERAGE, BestOfK, Column, Table
from krona.report.text import (
    COLORS,
    PAGE,
    method_style,
    number,
    parse_size,
    plain_label,
    short_names,
    signed,
)

WIDTH, HEIGHT = 440.0, 280.0  # points
SIMILAR = 1.2  # costs that differ by less than this factor have no chart
LEAST_COST = 1.05  # a cost counts as lower only if it is lower by this factor, because times and memory vary
MIN_VALUES = 3  # a chart of the score against a setting needs this number of values
MAX_ROWS = 40  # a chart of differences shows at most this number of rows
MAX_NAME = 44  # longer names of rows are shortened
INK, SOFT, GRID, PAPER = PAGE.values()
BETTER, WORSE = COLORS[9], COLORS[2]

RC: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "krona", "font.size": 12, "lines.solid_capstyle": "butt",
    "axes.labelcolor": INK, "xtick.color": SOFT, "ytick.color": SOFT, "text.parse_math": False,
    "axes.axisbelow": True, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.9, "legend.frameon": False,
    "legend.fontsize": 11, "text.color": INK, "xtick.major.size": 0, "ytick.major.size": 0,
}  # fmt: skip
TIP = "tip:"
NEEDLESS = (  # parts of matplotlib's SVG to remove: they would change the page's style, or differ between two runs
    r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<clipPath.*?</clipPath>", r"<defs>\s*</defs>",
    r' clip-path="[^"]*"', r' transform="rotate\(-0 [^"]*"', r" font-family: [^;\"]*;?",
    r' id="(?!m[0-9a-f]{10}")[^"]*"',
)  # fmt: skip


def score_frame(table: Table, column: Column) -> pd.DataFrame:
    """Return a row with the score, interval, costs and style of each row of the table that has a score in the column.

    The column ``settings`` contains the settings that distinguish the row from others of its method.
    """
    scored = {i: (row, cell) for i, (row, (cell,)) in enumerate(table.grid([column])) if cell.value is not None}
    names = short_names([row for row, _ in scored.values()])
    lines = []
    for row, cell in scored.values():
        style = method_style(row.method, among=table.methods)
        intervals = (cell.low, cell.high), (cell.test_low, cell.test_high), (cell.value, cell.value)
        low, high = next(interval for interval in intervals if interval[0] is not None)
        ends = f" ({number(low)} to {number(high)})" if high > low else ""
        lines.append({
            "row": row, "method": row.method, "label": plain_label(row.label), "settings": row.settings,
            "name": shorten(plain_label(names[row.name]), MAX_NAME), "score": cell.value, "low": low, "high": high,
            "color": style.color, "mark": style.mark, "hollow": False, "compared": cell.compared,
            "tip": f"{plain_label(row.name)}: {cell.text}{ends}",
        })  # fmt: skip
    frame = pd.DataFrame(lines, [*scored])
    tasks = [one.key for one in table.task_columns] if column.kind == "average" else [column.key]
    runs = table.runs[table.runs["task"].isin(tasks) & table.runs[table.split].notna()]
    for name in CHARTED:
        cost, quantity = find_quantity(name, table)
        known = runs[cost].notna().groupby(runs["row"]).all()  # of all runs
        frame[name] = summarize(runs, cost, quantity.statistic)[known]
    frame["quiet"] = (runs["load"] <= MAX_LOAD).groupby(runs["row"]).all()
    return frame


def short(value: float, _: object = None) -> str:
    """Format a number for a tick, such as 158k, 2.2M, 0.05 or 1e−5."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}".replace("e-0", "e-").replace("-", "−")


def tooltip(text: str) -> str:
    """Encode a tooltip as the ``gid`` of a matplotlib artist, which `to_svg` decodes."""
    return TIP + escape_control_characters(text).replace("\n", " ")


def _new(title: str, x: str, y: str, width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    figure.set_label(title)
    axes: Axes = figure.subplots()
    axes.patch.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.set(xlabel=x, ylabel=y)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(short)
    return figure, axes


def _mark(axes: Axes, x: float, y: float, color: str, tip: str, **style: Any) -> None:
    options = {"marker": "o", "markersize": 7, "markeredgewidth": 1.4, "clip_on": False, "zorder": 3, **style}
    axes.plot([x], [y], linestyle="none", color=color, gid=tooltip(tip), **options)


def _fit_scores(axes: Axes, frame: pd.DataFrame) -> None:
    """Fit the vertical axis to the intervals of scores."""
    low, high = frame.low.min(), min(100.0, frame.high.max())
    middle, half = (high + low) / 2, max(0.5, (high - low) / 2) * 1.12
    axes.set_ylim(middle - half, middle + half)


def _fit_cost(axes: Axes, values: Sequence[float], *, log: bool) -> None:
    """Start a cost axis at zero. A logarithmic axis is linear below its smallest positive value."""
    if not log:
        axes.set_xlim(0, 1.06 * max(values) or 1)
        return
    low = min([value for value in values if value > 0], default=1.0) / 1.5
    axes.set_xscale("symlog", linthresh=low, linscale=0.3)
    axes.xaxis.set_major_locator(ticker.SymmetricalLogLocator(axes.xaxis.get_transform(), subs=(1, 3)))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter(short)
    axes.set_xlim(-low / 2 if min(values) == 0 else low, 1.5 * max(*values, 10 * low))


def _scatter(axes: Axes, frame: pd.DataFrame, xs: Sequence[float]) -> None:
    """Draw the scores with their intervals."""
    _fit_scores(axes, frame)
    for row, x in zip(frame.itertuples(), xs, strict=True):
        axes.vlines(x, row.low, row.high, color=row.color, linewidth=1.4, alpha=0.65)
        fill = {"markerfacecolor": PAPER} if row.hollow else {}
        _mark(axes, x, row.score, row.color, row.tip, marker=row.mark, **fill)


def draw_charts(table: Table, most: int) -> dict[str, Any]:
    """Return the charts of a table on the page.

    The key ``first`` has the chart of the score against a swept setting and those of the differences to the reference
    (for at most ``most`` columns), ``costs`` has the charts of the score against each cost, and ``methods`` the methods
    in these charts.
    """
    if not (columns := table.score_columns):
        return {"first": [], "costs": [], "methods": []}
    frame = score_frame(table, columns[0])
    swept = find_swept(frame)
    curve = [draw_swept(frame, columns[0], swept)] if swept and not table.best_of_k else []
    differences = draw_table_differences(table, most)
    in_most_rows = sum(swept in settings for settings in frame.settings) > len(frame) / 2
    first = curve + differences if in_most_rows else differences + curve
    return {"first": first, "costs": cost_charts(table, columns[0], frame), "methods": [*frame.method.unique()]}


def draw_table_differences(table: Table, most: int) -> list[Figure]:
    """Return a chart of the differences to the reference for the mean over tasks, and for each task."""
    frame = shorten_names(table)
    first = frame[frame["column"] == AVERAGE]
    order = [*dict.fromkeys([*first["row"], *frame["row"]])] if len(first) else []
    groups = [(column.label, frame[frame["column"] == column.key]) for column in table.score_columns[:most]]
    return [draw_differences(group, label, order) for label, group in groups if len(group)]


@matplotlib.rc_context(RC)
def draw_differences(pairs: pd.DataFrame, title: str, order: Sequence[str] = ()) -> Figure:
    """Draw the differences of all rows to the reference row in one column: a forest plot.

    Args:
        pairs: the rows of `Table.reference_pairs` with one value of ``column``.
        title: the name of the column.
        order: the names of the rows from top to bottom. By default, the rows are sorted by difference.
    """
    pairs = pairs.sort_values("difference", ascending=False, kind="stable")
    if order:
        pairs = pairs.sort_values("row", key=lambda names: names.map([*order].index), kind="stable")
    pairs = pairs[:MAX_ROWS]
    reference = plain_label(str(pairs.reference.iloc[0]))
    label = "← worse\u2003difference in points\u2003better →"
    names = [shorten(plain_label(name), MAX_NAME) for name in pairs.row]
    width = 330 + 6 * max(12, *map(len, names))
    figure, axes = _new(f"{title}: difference to {reference}", label, "", width, 26 * len(pairs) + 66)
    for position, pair in enumerate(pairs.itertuples()):
        certain = pair.p_reference <= ALPHA
        color, marker, verdict = (BETTER, ">", "better") if pair.difference > 0 else (WORSE, "<", "worse")
        if not certain:
            color, marker, verdict = (SOFT, "o", "not certain")
        axes.barh(position, 2 * pair.detectable, left=-pair.detectable, height=1, color=GRID, linewidth=0)
        axes.hlines(position, pair.low, pair.high, color=color, linewidth=2.4 if certain else 1.6)
        text = signed(pair.difference, 1)
        interval, p = format_interval(pair, 1), f"p (Holm) {pair.p_reference:.2g}"
        tip = f"{plain_label(pair.row)} − {reference}: {text} ({interval}), {p}"
        fill = {} if certain else {"markerfacecolor": PAPER}
        _mark(axes, pair.difference, position, color, tip, marker=marker, markersize=8, **fill)
        for words, shift in ((text, 38), (verdict, 46)):
            axes.annotate(
                words, (1, position), xycoords=("axes fraction", "data"), xytext=(shift, 0), textcoords="offset points",
                va="center", ha="right" if words is text else "left", annotation_clip=False,
                fontweight="bold" if certain else "normal", color=INK if words is text else color,
            )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1.2)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_yticks(range(len(pairs)), names, color=INK)
    axes.grid(axis="y", visible=False)
    return figure


def find_front(table: Table, column: Column, frame: pd.DataFrame, cost: str) -> list[bool]:
    """Return for each row of a frame whether it is on the Pareto front of the score and a cost.

    A row is not on the front if another row is significantly better at an equal or lower cost, or costs less and is not
    significantly worse. Rows that were not tested are compared by their scores.
    """

    gaps: dict[tuple[str, str], float] = {}
    for pair in table.pairs[table.pairs["column"] == column.key].itertuples():
        gap = pair.difference * (pair.p_holm <= ALPHA)
        gaps |= {(pair.row, pair.reference): gap, (pair.reference, pair.row): -gap}

    def is_better(a: Any, b: Any) -> bool:
        gap = gaps.get((a.row.name, b.row.name), a.score - b.score)
        cost_a, cost_b = getattr(a, cost), getattr(b, cost)
        return bool((gap > 0 and cost_a <= cost_b * LEAST_COST) or (gap == 0 and cost_a * LEAST_COST < cost_b))

    rows = [*frame.itertuples()]
    return [not any(is_better(other, row) for other in rows if other is not row) for row in rows]


@matplotlib.rc_context(RC)
def draw_cost(table: Table, column: Column, frame: pd.DataFrame, cost: str) -> Figure:
    """Draw the scores against a cost. The rows on the Pareto front are filled and joined, and have a label.

    Training times have a front only if the runs recorded that the machine was quiet.
    """
    quantity = find_quantity(cost, table)[1]
    title = f"Score against {quantity.axis.partition(' (')[0]}"
    compares = cost != "time" or frame["quiet"].all()
    title += "" if compares else " (not comparable: the machine was busy, or its load is unknown)"
    label = f"{quantity.axis}, log." if quantity.logarithmic else quantity.axis
    figure, axes = _new(title, label, f"{column.label}, score")
    frame = frame.assign(x=frame[cost] / quantity.unit)
    compared = frame[frame["compared"]]
    front = compared[find_front(table, column, compared, cost)] if len(compared) and compares else compared[:0]
    frame["hollow"] = ~frame.index.isin(front.index) & (len(front) > 0)
    ends = ["; on the Pareto front" * (i in front.index) for i in frame.index]
    frame["tip"] = [f"{tip}; {x:,.5g}{end}" for tip, x, end in zip(frame.tip, frame.x, ends, strict=True)]
    front = frame.loc[front.index].sort_values(["x", "score"])
    if front.x.nunique() > 1:
        axes.step(front.x, front.score, where="post", color=SOFT, linewidth=1.1, linestyle=(0, (5, 3)), gid="front")
    _scatter(axes, frame, [*frame.x])
    _fit_cost(axes, [*frame.x], log=quantity.logarithmic)
    last = math.inf
    for row in front.sort_values("score", ascending=False).itertuples():
        if last - row.score < 0.08 * np.ptp(axes.get_ylim()):
            continue  # the label would overlap the one above
        last = row.score
        right = axes.transAxes.inverted().transform(axes.transData.transform((row.x, row.score)))[0] > 0.5
        axes.annotate(
            row.name, (row.x, row.score), xytext=(-7 if right else 7, 7), textcoords="offset points",
            ha="right" if right else "left", fontsize=11,
        )  # fmt: skip
    return figure


def cost_charts(table: Table, column: Column, frame: pd.DataFrame) -> list[Figure]:
    """Return a chart for each cost that differs clearly between rows."""
    charts = []
    for cost in CHARTED:
        known = frame.dropna(subset=[cost]).astype({cost: float})
        if known[cost].max() >= SIMILAR * known[cost].min() and known[cost].nunique() > 1:
            charts.append(draw_cost(table, column, known, cost))
    return charts


def find_swept(frame: pd.DataFrame) -> str | None:
    """Return the setting whose numbers or shapes distinguish the rows of each method, or None.

    At least one method must have three rows.
    """
    keys: dict[str, None] = dict.fromkeys(key for settings in frame.settings for key in settings)
    for key in keys:
        known = [
            (label, size)
            for label, settings in zip(frame.label, frame.settings, strict=True)
            if (size := parse_size(settings.get(key, ""))) < math.inf
        ]
        largest = max(Counter(label for label, _ in known).values(), default=0)
        if largest >= MIN_VALUES and len({*known}) == len(known):
            return key
    return None


@matplotlib.rc_context(RC)
def draw_swept(frame: pd.DataFrame, column: Column, key: str) -> Figure:
    """Draw the score against a swept number."""
    name = key.removeprefix("method.")
    frame = frame[[parse_size(settings.get(key, "")) < math.inf for settings in frame.settings]]
    values = [settings[key] for settings in frame.settings]
    ordered = sorted({(parse_size(value), value) for value in values})
    figure, axes = _new(f"Score against {name}", name, f"{column.label}, score", 560, 300)
    positions = {value: place for place, (_, value) in enumerate(ordered)}
    xs = pd.Series([positions[value] for value in values], frame.index)
    for label, group in frame.groupby("label", sort=False):
        at = xs[group.index].sort_values()
        style = {"color": group.color.iloc[0], "linewidth": 1.6, "label": label, "gid": tooltip(label), "zorder": 1}
        axes.plot(at, group.score[at.index], **style)
    _scatter(axes, frame, [*xs])
    texts = [short(size) if "x" not in value else value for size, value in ordered]
    axes.set_xticks(range(len(texts)), texts, rotation=40 if sum(map(len, texts)) > 60 else 0)
    axes.set_xlim(-0.5, len(texts) - 0.5)
    if frame.label.nunique() > 1:
        axes.legend()
    return figure


@matplotlib.rc_context(RC)
def draw_best_of_k(found: BestOfK, methods: Sequence[str]) -> Figure:
    """Draw the expected test score of each method against the number of trials, with a band for its interval.

    ``methods`` are all methods of the report, which determine the colours.
    """
    points = found.points
    figure, axes = _new(f"{found.task}: test score after k trials of tuning", "trials k", "expected test score")
    for name, frame in points.groupby("label", sort=False):
        label, style = plain_label(name), method_style(frame.method.iloc[0], among=methods)
        axes.plot(frame.k, frame.score, color=style.color, linewidth=1.8, label=label, gid=tooltip(label))
        axes.fill_between(frame.k, frame.low, frame.high, color=style.color, alpha=0.15, linewidth=0)
        for point in frame.itertuples():
            tip = f"{label}: {number(point.score)} at {point.k}"
            _mark(axes, point.k, point.score, style.color, tip, marker=style.mark)
    _fit_scores(axes, points)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    axes.legend()
    return figure


@matplotlib.rc_context(RC)
def to_svg(figure: Any, title: str) -> str:
    """Return a matplotlib figure as an SVG element. Equal figures give identical text.

    An artist gets the tooltip that its ``gid`` encodes (see `tooltip`). The colours of `PAGE` are CSS variables of the
    page. The ``title`` is for screen readers.
    """
    for text in figure.findobj(Text):
        text.set_text(escape_control_characters(text.get_text()).replace("\t", " "))
    out = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the SVG viewer chooses the font
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)  # labels are too long
        figure.savefig(out, format="svg", transparent=True)
    svg = out.getvalue()
    svg = re.sub(rf'<g id="{TIP}([^"]*)">', r"<g><title>\1</title>", svg)
    svg = re.sub(r'<g id="front">', r'<g class="front">', svg)
    for name, color in PAGE.items():
        svg = svg.replace(f": {color}", f": var(--{name})")
    for pattern in NEEDLESS:
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", " ", svg[svg.index("<svg") :]).replace("> <", "><")
    width, height = figure.get_size_inches() * 72
    size = f'viewBox="0 0 {width:g} {height:g}"'
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    root = f'<svg class="chart" {names} {size} role="img" aria-label="{html.escape(escape_control_characters(title))}">'
    return re.sub("<svg [^>]*>", lambda _: root, svg, count=1)
