"""Render a report: HTML and LaTeX with jinja2, CSV with pandas, and the terminal with rich."""

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from markupsafe import escape as escape_html
from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from krona.display_names import method_label
from krona.formatting import NOTHING, escape
from krona.messages import KronaError, escape_control_characters
from krona.report import FORMATS, text
from krona.report.pairs import describe_limits, find_differences, format_pairs
from krona.report.sentences import NEXT, closing_notes, legend, summarize
from krona.report.table import Column, Note, Report, Table
from krona.secrets_in_text import strip_folders

MAX_CHARTED = 12  # the page has charts of at most this number of tables, and of their columns
MAX_PAIRS = 66  # the page lists at most the pairs of 12 rows on one task
MAX_DIFFERENCES = 24  # the terminal shows at most this number of differences
MAX_WIDTH = 20  # a column with longer texts is left-aligned in the terminal
MAX_LINES = 20  # in the terminal, a section below the tables shows at most this number of notes
FORMULA = ("=", "+", "-", "@")  # the first characters of formulas in spreadsheets
CSV_COLUMNS = (
    "table", "section", "row", "differs", "column", "metric", "value", "t_low", "t_high", "seeds", "test_low",
    "test_high", "paper", "difference", "best", "not_told_apart", "p_holm", "against_reference", "mark", "messages",
    "warning", "missing", "runs",
)  # fmt: skip
NOT_IN_CSV = ("text", "marks", "details", "compared", "low", "high")  # other columns of a frame of cells
LATEX_TAGS = (r"\textsuperscript{{{}}}", r"\textsubscript{{{}}}")
LATEX_CHARACTERS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "−": r"$-$", "–": "--", "—": "---", "⊗": r"$\otimes$", "·": r"$\cdot$",
    "Δ": r"$\Delta$", "→": r"$\to$", "…": r"\dots{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "×": r"$\times$",
    "³": r"\textsuperscript{3}", "≠": r"$\ne$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip
Render = Callable[[Report, Path | None], str]


def find_renderer(name: str) -> Render:
    """Return the function ``render(report, out)`` of a format. ``out`` is the file, or None for standard output.

    Raises:
        KronaError: the format does not exist.
    """
    if name not in FORMATS:
        raise KronaError(f"The format {name!r} does not exist. Choose from {', '.join(FORMATS)}.")
    return {"csv": render_csv, "html": render_html, "latex": render_latex, "terminal": render_terminal}[name]


def _render_template(name: str, report: Report, *, errors: bool, filters: dict[str, Any], **options: Any) -> str:
    """Render a template with the report, and with the functions that all templates use."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, **options,
    )  # fmt: skip
    environment.filters |= filters
    environment.globals |= {"report": report, "text": text, "legend": legend, "max_charted": MAX_CHARTED}
    return environment.get_template(name).render(closing=[*closing_notes(report, errors=errors)])


def render_html(report: Report, out: Path | None) -> str:
    """Return the HTML page, without absolute paths and without errors of runs, which may quote a row."""
    from krona.report import charts

    def plain(value: object) -> str:
        return str(escape_html(value))

    filters = {
        "sentence": lambda line: Markup(text.tag_labels(line, plain)),
        "breakable": lambda line: Markup(plain(line).replace("=", "=<wbr>")),
        "number": lambda value, digits=2: NOTHING if pd.isna(value) else text.number(value, digits),
        "svg": lambda figure: Markup(charts.to_svg(figure, figure.get_label())),
        "charts": lambda table: charts.draw_charts(table, MAX_CHARTED),
        "pairs": format_pair_tables,
        "limits": lambda table: describe_limits(table.reference_pairs),
        "summary": summarize,
        "method_label": method_label,
        "draw_best_of_k": charts.draw_best_of_k,
    }
    return strip_folders(_render_template("report.html", report, errors=False, filters=filters, autoescape=True))


def render_latex(report: Report, out: Path | None) -> str:
    """Return the tables as LaTeX. The notes, which contain the warnings, are comments."""
    filters = {
        "tex": escape_latex,
        "label": lambda label: text.tag_labels(label, escape_latex, LATEX_TAGS),
        "line": lambda line: " ".join(line.split()),
    }
    return _render_template(
        "report.tex", report, errors=True, filters=filters,  # braces are frequent in LaTeX
        block_start_string="<%", block_end_string="%>", variable_start_string="<<", variable_end_string=">>",
        comment_start_string="<#", comment_end_string="#>",
    )  # fmt: skip


def escape_latex(value: str) -> str:
    """Escape LaTeX's special characters, and replace characters that LaTeX's fonts may not contain."""
    line = " ".join(escape_control_characters(value).splitlines())
    escaped = "".join(LATEX_CHARACTERS.get(character, character) for character in line)
    return escaped.encode("latin-1", "replace").decode("latin-1")


def format_pair_tables(table: Table) -> list[pd.DataFrame]:
    """Return the pairs with the reference and all pairs, each as text if there are at most `MAX_PAIRS`."""
    frames = {"p_reference": table.reference_pairs, "p_holm": table.pairs.sort_values("p", kind="stable")}
    return [format_pairs(frame, family=family) for family, frame in frames.items() if 0 < len(frame) <= MAX_PAIRS]


def render_csv(report: Report, out: Path | None) -> str:
    """Return a line for each cell, unfinished run and file that could not be used, with numbers that are not rounded.

    The columns `CSV_COLUMNS` are followed by the metrics of the scores (means over seeds). Some need an explanation:

    - table: the table's name; ``not finished`` for a run, ``not used`` for a file
    - t_low, t_high, test_low, test_high: the 95 % intervals over seeds (Student's t) and over examples (bootstrap)
    - not_told_apart: 1 if the cell is not significantly worse than the best (``best``)
    - p_holm: of the test against the best; against_reference: 1 or -1 if significantly better or worse
    - messages, mark: about the score, with ``!`` for a warning; warning: about the table
    - missing: why the cell has no value; the state of a run; what is wrong with a file

    Text that a spreadsheet would run as a formula is prefixed with an apostrophe.
    """
    lines = [
        {"table": "not finished", "messages": run.result.error or run.result.reached, "missing": run.status,
         "runs": run.run_id}
        for run in report.unfinished
    ] + [{"table": "not used", "missing": problem} for problem in report.problems]  # fmt: skip
    frame = pd.concat([*(table.cells for table in report.tables), pd.DataFrame(lines, dtype=object)])
    metrics = sorted({*frame.columns} - {*CSV_COLUMNS, *NOT_IN_CSV})
    flags = {name: frame[name].astype("Int64") for name in ("best", "not_told_apart")}  # written as 1 and 0
    quoted = frame[[*CSV_COLUMNS, *metrics]].map(
        lambda value: f"'{value}" if isinstance(value, str) and value.lstrip().startswith(FORMULA) else value
    )
    return str(quoted.assign(**flags).to_csv(index=False, lineterminator="\n"))


def render_terminal(report: Report, out: Path | None) -> str:
    """Return the report as text. If the report is printed to a terminal, the text has ANSI colours.

    A table that is too wide is split into several tables.
    """
    on_screen = out is None and sys.stdout.isatty()
    width = shutil.get_terminal_size((100, 24)).columns if on_screen else 100
    color = on_screen and "NO_COLOR" not in os.environ
    written = io.StringIO()
    system: Any = "256" if color else None
    console = Console(file=written, width=width, force_terminal=color, color_system=system, highlight=False)
    _print(console, report.title, "bold")
    for sentence in (*summarize(report), report.counts):
        _print(console, sentence)
    if report.empty:
        _print_note(console, report.empty)
    for table in report.tables:
        _print_table(console, table)
    if explanation := legend(report.tables):
        _print(console, f"\n{explanation}", "dim")
    for heading, notes in closing_notes(report):
        if heading != NEXT:
            _print(console, f"\n{heading}", "bold cyan")
        for note in notes[:MAX_LINES]:
            _print_note(console, note)
        if len(notes) > MAX_LINES:
            _print(console, f"… and {len(notes) - MAX_LINES} more. To see all, use --format html.")
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def _print_table(console: Console, table: Table) -> None:
    _print(console, f"\n{table.heading}", "bold cyan")
    if table.warning:
        _print(console, table.warning, "yellow")
    differences, family = find_differences(table)
    if 0 < len(differences) <= MAX_DIFFERENCES:
        _print_frame(console, format_pairs(differences, family=family))
    for grid in _grids(console, table):
        console.print(grid)
    for note in table.notes:
        _print_note(console, note, "yellow" if note.warns else "dim")
    for frame in [*(found.summary for found in table.best_of_k), *([] if table.recipes is None else [table.recipes])]:
        _print(console, "")
        _print_frame(console, frame)
        _print(console, frame.attrs["legend"], "dim")


def _print(console: Console, line: str, style: str = "") -> None:
    console.print(Text(escape_control_characters(line), style=style))


def _print_note(console: Console, note: Note, style: str = "") -> None:
    """Print the sentence of a note after a dash, and its command on a separate line that is not wrapped."""
    options: Any = {"initial_indent": "- ", "subsequent_indent": "  ", "break_on_hyphens": False}
    _print(console, textwrap.fill(note.text, console.width, **options), style)
    if note.command:
        console.print(Text(f"    {note.command}", style=style), soft_wrap=True)


def _print_frame(console: Console, frame: pd.DataFrame) -> None:
    for split in (False, True):  # split the headings if the table is too wide
        grid = _new_grid()
        for i, name in enumerate(frame.columns):
            is_text = i == 0 or frame[name].str.len().max() > MAX_WIDTH
            heading = "\n".join(name.split()) if split and i else name
            grid.add_column(heading, justify="left" if is_text else "right", overflow="fold")
        for values in frame.itertuples(index=False):
            grid.add_row(*map(escape, values))
        if split or _width(console, grid) <= console.width:
            console.print(grid)
            return


def _new_grid() -> Grid:
    return Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)


def _width(console: Console, grid: Grid) -> int:
    return console.measure(grid, options=console.options.update(max_width=10_000)).maximum


def _grids(console: Console, table: Table) -> Iterator[Grid]:
    """Yield the table as one or more grids that fit the console's width. Each grid repeats the labels of the rows.

    If the table fits without line breaks in its headings, they have none.
    """
    whole = _grid(table, table.shown, console.width, split=False)
    if _width(console, whole) <= console.width:
        yield whole
        return
    columns: list[Column] = []
    for column in table.shown:
        if columns and _width(console, _grid(table, [*columns, column], console.width)) > console.width:
            yield _grid(table, columns, console.width)
            columns = []
        columns.append(column)
    yield _grid(table, columns, console.width)


def _grid(table: Table, columns: Sequence[Column], width: int, *, split: bool = True) -> Grid:
    grid = _new_grid()
    grid.add_column(escape(table.axis), overflow="fold", max_width=max(11, width // 3))  # KronA^B_res must fit
    for column in columns:
        lines = [*column.label.split(), *column.details] if split else [column.label, ", ".join(column.details)]
        grid.add_column(escape("\n".join(lines).rstrip()), justify="right", overflow="fold", vertical="top")
    rows = [*table.grid(columns)]
    # Cells are padded for the longest mark in their column, so that the decimals are aligned.
    spaces = [max(len(cell.marks) for cell in cells) for cells in zip(*(cells for _, cells in rows), strict=True)]
    for row, cells in rows:
        color = text.method_style(row.method, among=table.methods).color
        label = Text(escape_control_characters(row.label), style=color)
        settings = escape_control_characters(row.differs).split(", ") if row.differs else []
        label.append("".join(f"\n{setting}" for setting in settings), style="dim")
        grid.add_row(label, *map(_grid_cell, cells, spaces))
    return grid


def _grid_cell(cell: Any, space: int) -> Text:
    if cell.value is None and cell.missing is None:
        return Text("")
    bold = "bold" if cell.best or cell.not_told_apart else ""
    return Text(f"{cell.text}{cell.marks:{space}}", style=bold).append("".join(map("\n{}".format, cell.details)), "dim")
