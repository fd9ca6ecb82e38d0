"""Write the charts of a report as PDF and SVG files for a paper (`krona report --figures`)."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from krona.display_names import method_label
from krona.report import COLUMN_MM, charts
from krona.report.render import draw_table_differences
from krona.report.svg import RC
from krona.report.table import Column, Report, Table
from krona.report.text import plain_label

INCH_MM = 25.4
LINE_INCH = 0.27  # the height of a line of the legend, before the figure is scaled
LEGEND_COLUMNS = 2
LETTERS_PT = 7.0  # the size of the largest letters
RC_PAPER = RC | {"svg.fonttype": "path", "pdf.fonttype": 42}  # SVG: letters as paths; PDF: embedded TrueType fonts


def write_figures(report: Report, folder: Path, *, width_mm: float = COLUMN_MM) -> list[Path]:
    """Write each chart of the report's scores as a PDF and an SVG file, and return the paths of the files.

    The charts are those of the HTML page: the differences to the reference, and the score against a swept setting and
    against costs. Significance and methods differ by their marks, so that the figures can be printed in grey.

    Args:
        folder: is created if it does not exist. Files with the same names are replaced.
        width_mm: the width of each figure in millimetres.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    with matplotlib.rc_context(RC_PAPER):
        for number, table in enumerate(report.tables):
            for figure in _draw(table):
                _resize(figure, width_mm / INCH_MM)
                name = re.sub(r"[^a-z0-9]+", "-", str(figure.get_label()).lower()).strip("-")
                stem = f"{number + 1}-{name}" if len(report.tables) > 1 else name
                for ending, date in (("pdf", "CreationDate"), ("svg", "Date")):
                    paths.append(folder / f"{stem}.{ending}")
                    figure.savefig(paths[-1], metadata={date: None})
    return paths


def _draw(table: Table) -> Iterator[Figure]:
    yield from draw_table_differences(table)
    for column in table.score_columns:
        frame = charts.score_frame(table, column)
        if len(frame) < 2:
            continue
        if swept := charts.find_swept(frame):
            yield _name(charts.draw_swept(frame, column, swept), column)
        for figure in charts.cost_charts(table, column, frame)[0]:
            _add_legend(figure, frame)
            yield _name(figure, column)


def _name(figure: Figure, column: Column) -> Figure:
    figure.set_label(f"{column.label} {figure.get_label()}")
    return figure


def _add_legend(figure: Figure, frame: pd.DataFrame) -> None:
    """Add the marks of the methods below the chart. The HTML page has its own legend, which all charts share."""
    methods = frame.drop_duplicates("method")
    marks = [
        Line2D([], [], color=color, marker=mark, linestyle="none", label=plain_label(method_label(method)))
        for color, mark, method in zip(methods.color, methods.mark, methods.method, strict=True)
    ]
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + LINE_INCH * math.ceil(len(marks) / LEGEND_COLUMNS))
    spaces = {"handlelength": 1.0, "handletextpad": 0.5, "labelspacing": 0.2, "markerscale": 0.6}
    figure.legend(handles=marks, loc="outside lower left", ncols=LEGEND_COLUMNS, **spaces)


def _resize(figure: Any, width_inch: float) -> None:
    """Scale a figure to a width in inches. Letters, lines and marks become smaller, but letters stay readable."""
    scale = width_inch / figure.get_size_inches()[0]
    figure.set_size_inches(figure.get_size_inches() * scale)
    largest = max(text.get_fontsize() for text in figure.findobj(Text))
    for text in figure.findobj(Text):
        text.set_fontsize(text.get_fontsize() * LETTERS_PT / largest)
    for axes in figure.axes:
        for line in axes.lines:
            line.set(linewidth=line.get_linewidth() * scale, markersize=line.get_markersize() * scale)
        for lines in axes.collections:
            lines.set_linewidth([width * scale for width in lines.get_linewidth()])
