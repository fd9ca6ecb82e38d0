"""`krona report`: results to text in a format."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from krona.files import write_whole
from krona.messages import KronaError, did_you_mean, visible
from krona.paths import choice_files
from krona.report import times
from krona.report.formats import FORMATS, renderer
from krona.report.layouts import Layout, layout_of
from krona.report.lead import compared
from krona.report.selection import StoredRun, choose, load
from krona.report.table import Report, Table, Target
from krona.report.tables import build_tables, paper_table
from krona.report.text import unfinished_counts
from krona.runs import sweep as sweep_runs
from krona.runs.folder import require_out
from krona.runs.studies import Study, read_studies


def build_report(
    outputs: Path | Sequence[Path],
    *,
    table: str | None = None,
    sweep: str | None = None,
    format: str = "terminal",
    out: Path | None = None,
    filters: Sequence[str] = (),
    width: int | None = None,
    color: bool | None = None,
) -> str:
    """The report as text, written whole to ``out`` if that is given.

    table: a number of the paper's. sweep: a sweep's name. Neither: all runs. filters: ``key=value[,value]``.
    width, color: of the terminal format (`krona.report.table.Target`).
    Raises KronaError for an unknown table, sweep, format or filter, and where ``out`` can't be written; files under
    ``outputs`` that can't be used are named in the report.
    """
    if format not in FORMATS:
        raise KronaError(f"format {format!r}: choose from {', '.join(FORMATS)}")
    _check_writable(out)
    report = collect(outputs, table=table, sweep=sweep, filters=filters)
    text = renderer(format)(report, Target(out, width, color))
    text = text if format == "terminal" else visible(text)  # a page may be printed too
    if out is not None:
        write_whole(out, lambda part: part.write_text(text, encoding="utf-8"))
    return text


def collect(
    outputs: Path | Sequence[Path], *, table: str | None = None, sweep: str | None = None, filters: Sequence[str] = ()
) -> Report:
    """Everything that a format shows."""
    if table is not None and sweep is not None:
        raise KronaError("table and sweep: name one of them; --where sweep=NAME narrows a table")
    layout = layout_of(table, sweep)
    folders = [outputs] if isinstance(outputs, Path) else list(outputs)
    runs, problems = load(folders)
    runs = choose(_of_sweep(runs, sweep, folders), filters)
    studies, unread = _studies_of(folders, runs)
    problems += unread
    pruned = {trial.run_id for study in studies for trial in study.trials if trial.state == "pruned"}
    runs = [run for run in runs if run.status == "done" or run.result.run_id not in pruned]
    if any(study.name == sweep for study in studies):
        layout = replace(layout, title=f"Study {sweep}", command="krona tune")
    tables = build_tables(layout, runs)
    what = compared(tables) if layout.paper is None else ""  # a table of the paper has a title of its own
    title = f"{layout.title}: {what}" if what else layout.title
    report = Report(title, tables, studies=studies, problems=problems)
    if layout.name == "2":
        report.tables = [*_bench(layout, folders, problems), *report.tables]
    belonging = [run for run in runs if layout.row(run) is not None]
    report.runs = [run for run in belonging if run.status == "done"]
    report.unfinished = [run for run in belonging if run.status != "done"]
    finished = any(cell.value is not None for one in report.tables for row in one.rows for cell in row.cells.values())
    if not finished:
        counts = unfinished_counts(report.unfinished)
        words = f"No finished run under {', '.join(map(str, folders))} belongs to this table."
        words += f" Not finished: {counts}." if counts else ""
        report.empty = f"{words} To make them:", layout.command
    if (printed := paper_table(layout)) is not None:
        beside = [one for one in report.tables if one.section is not None and one.section.comparable]
        for one in beside:
            one.notes += printed.notes
        report.tables += [] if beside else [printed]
    return report


def _of_sweep(runs: list[StoredRun], sweep: str | None, folders: Sequence[Path]) -> list[StoredRun]:
    """The runs that the sweep made, and those that it found made already."""
    if sweep is None:
        return runs
    known = set[str]().union(*(sweep_runs.load_run_ids(folder, sweep) for folder in folders))
    found = [run for run in runs if run.sweep == sweep or run.result.run_id in known]
    if found:
        return found
    names = {run.sweep for run in runs if run.sweep}
    shipped = choice_files("sweeps")
    if sweep in shipped:
        others = f" (sweeps with runs: {', '.join(sorted(names))})" if names else ""
        raise KronaError(f"--sweep {sweep}: none of its runs is here{others}; python train.py -m sweeps={sweep} …")
    names |= {*shipped}
    raise KronaError(f"--sweep {sweep}: there is no sweep of that name; {did_you_mean(sweep, sorted(names))}")


def _bench(layout: Layout, folders: Sequence[Path], problems: list[str]) -> list[Table]:
    found = {}
    for path in (folder / "bench" / f"{kind}.json" for folder in folders for kind in ("latency", "training")):
        try:
            if path.is_file():
                found[path.stem] = times.read_bench(path)
        except KronaError as error:
            problems.append(str(error))
    return [times.bench_table(layout, found)] if found else []


def _check_writable(out: Path | None) -> None:
    """Raise KronaError before the work where ``out`` is a folder or lies in one that can't be written."""
    if out is None:
        return
    require_out(out)
    place = out.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise KronaError(f"{out} can't be written: {place} is {'not writable' if place.is_dir() else 'no folder'}")


def _studies_of(folders: Sequence[Path], runs: Sequence[StoredRun]) -> tuple[list[Study], list[str]]:
    """The studies that made some of these runs, and a sentence for each file that can't be read."""
    made = {run.sweep for run in runs}
    found = [one for folder in folders if (folder / "studies").is_dir() for one in read_studies(folder)]
    problems = [str(one) for one in found if isinstance(one, KronaError)]
    return [one for one in found if isinstance(one, Study) and one.name in made], problems
