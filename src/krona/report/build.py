"""`krona report`: read results, build the tables, and render them in a format."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from krona.messages import KronaError, amount, did_you_mean, visible
from krona.paths import choice_files
from krona.report.build_tables import build_tables, paper_table
from krona.report.computed_values import ComputedValues
from krona.report.formats import renderer
from krona.report.layouts import Layout, find_layout
from krona.report.stored_runs import KEYS, StoredRun, count_states, count_unfinished, filter_value, finished, load_runs
from krona.report.table import Note, Report
from krona.report.wording import describe_subject
from krona.runs import sweep as sweep_runs
from krona.runs.filters import filter_runs
from krona.runs.folder import RunFolder, require_out
from krona.runs.studies import Study, read_studies
from krona.safe_files import write_whole


def build_report(
    outputs: Path | Sequence[Path],
    *,
    table: str | None = None,
    sweep: str | None = None,
    format: str = "terminal",
    out: Path | None = None,
    filters: Sequence[str] = (),
    run_ids: Collection[str] | None = None,
) -> str:
    """Return the report as text, and write it to the file ``out`` if it is given.

    Args:
        outputs: folders with runs. The report lists the files in these folders that can't be read.
        table: a table of the paper. The report has the runs of its plan, which are those of the sweep ``tableN``.
        sweep: the name of a sweep. With ``table``, the table has the runs of this sweep. Without both, the report
            covers all runs.
        format: the name of a module in `krona.report.formats`.
        filters: conditions ``key=value[,value]`` that the runs must meet.
        run_ids: the report has only these runs. None means all runs.
    """
    render = renderer(format)
    if out is not None:
        require_out(out)
    report = collect(outputs, table=table, sweep=sweep, filters=filters, run_ids=run_ids)
    text = render(report, out)
    text = text if format == "terminal" else visible(text)  # other formats may be printed to a terminal too
    if out is not None:
        write_whole(out, lambda part: part.write_text(text, encoding="utf-8"))
    return text


def collect(
    outputs: Path | Sequence[Path],
    *,
    table: str | None = None,
    sweep: str | None = None,
    filters: Sequence[str] = (),
    run_ids: Collection[str] | None = None,
) -> Report:
    """Return the content of a report, without the format. `build_report` describes the arguments."""
    layout = find_layout(table, sweep)
    plan = sweep or layout.sweep
    layout = layout if table is None else replace(layout, sweep=plan)
    folders = [outputs] if isinstance(outputs, Path) else list(outputs)
    computed = ComputedValues(folders[0] if folders else None)
    runs, problems = load_runs(folders, computed)
    planned = set[str](run_ids or ())
    fitting = sum(layout.row(run.result) is not None for run in runs)
    if run_ids is not None:
        runs = [run for run in runs if run.result.run_id in run_ids]
    elif plan is not None:
        planned = planned.union(*(sweep_runs.load_run_ids(folder, plan) for folder in folders))
        runs = _select_sweep(runs, plan, planned, required=sweep is not None)
    others = fitting - sum(layout.row(run.result) is not None for run in runs)
    runs = filter_runs(runs, filters, filter_value, KEYS)
    studies, unread = _read_studies(folders, runs)
    problems += unread
    pruned = {trial.run_id for study in studies for trial in study.trials if trial.state == "pruned"}
    runs = [run for run in runs if run.status == "done" or run.result.run_id not in pruned]
    if any(study.name == sweep for study in studies):
        layout = replace(layout, title=f"Study {sweep}", command="krona tune")
    tables, damaged = build_tables(layout, runs, folders)
    computed.save()
    report = Report(layout.title, tables, studies=studies, problems=[*problems, *damaged])
    if layout.paper is None and (subject := describe_subject(report.tables)):
        report.title += f": {subject}"
    belonging = [run for run in runs if layout.row(run.result) is not None]
    report.runs = finished(belonging)
    report.unfinished = [run for run in belonging if run.status != "done"]
    begun = {id_ for id_ in planned if any(RunFolder(folder / id_).result.is_file() for folder in folders)}
    report.counts = count_states(belonging, 0 if filters else len(planned - begun))
    if not any(cell.value is not None for one in report.tables for row in one.rows for cell in row.cells.values()):
        counts = count_unfinished(report.unfinished)
        words = f"No finished run under {', '.join(map(str, folders))} fits into this table."
        command = layout.command if table or sweep else f"{layout.command} profile=demo"
        report.empty = Note(f"{words}{f' Not finished: {counts}.' if counts else ''} To start the runs:", command)
    _add_paper_table(report, layout)
    if table is not None and others:
        text = f"{amount(others, 'run')} of other commands could be shown in this table. To see all runs:"
        report.tables[0].other_notes.append(Note(text, "krona report", "missing"))
    return report


def _add_paper_table(report: Report, layout: Layout) -> None:
    """Add the table of the paper's own numbers, or only its notes if comparable tables already show these numbers."""
    if (printed := paper_table(layout)) is None:
        return
    comparable = [one for one in report.tables if one.section is not None and one.section.comparable]
    for one in comparable:
        one.notes += printed.notes
    report.tables += [] if comparable else [printed]


def _select_sweep(runs: list[StoredRun], sweep: str, planned: set[str], *, required: bool) -> list[StoredRun]:
    """Return the runs of a sweep, including the runs in ``planned`` that were finished when the sweep started.

    Raise KronaError if there are none and ``required`` is true.
    """
    found = [run for run in runs if run.sweep == sweep or run.result.run_id in planned]
    if found or not required:
        return found
    names = {run.sweep for run in runs if run.sweep}
    shipped = choice_files("sweeps")
    if sweep in shipped:
        others = f" (sweeps with runs: {', '.join(sorted(names))})" if names else ""
        raise KronaError(
            f"The sweep {sweep} has no runs here{others}. To start them, run: python train.py -m sweeps={sweep}"
        )
    names |= {*shipped}
    raise KronaError(f"The sweep {sweep} was not found: {did_you_mean(sweep, sorted(names))}")


def _read_studies(folders: Sequence[Path], runs: Sequence[StoredRun]) -> tuple[list[Study], list[str]]:
    made = {run.sweep for run in runs}
    found = [one for folder in folders if (folder / "studies").is_dir() for one in read_studies(folder)]
    problems = [str(one) for one in found if isinstance(one, KronaError)]
    return [one for one in found if isinstance(one, Study) and one.name in made], problems
