"""Build the report of `krona report`: select the runs, build one table per section, and render the tables."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from krona.display_names import task_label, task_order
from krona.messages import KronaError, did_you_mean, escape_control_characters, first_few, plural
from krona.paper import ERRATA, TASKS, PaperTable
from krona.report import COLUMN_MM, cells, costs
from krona.report.layouts import Layout, find_layout
from krona.report.notes import describe_limits, describe_runs, power_note
from krona.report.over_tasks import summarize_tasks
from krona.report.pairs import list_pairs, list_reference_pairs
from krona.report.runs import (
    DATA,
    count_states,
    first_run,
    list_settings,
    load_runs,
    select_sweep,
    select_where,
)
from krona.report.sections import Section
from krona.report.table import AVERAGE, Cell, Column, Note, Report, Row, Table
from krona.report.text import describe_subject, setting_text
from krona.runs.description import asked_shape, used_shape
from krona.runs.folder import RunFolder, require_out
from krona.runs.pack import runs_folder
from krona.runs.protocol import RECIPE_TITLE, compare_recipes
from krona.runs.studies import Study, read_studies
from krona.runs.sweep import load_run_ids
from krona.safe_files import write_text

PRINTED = {"avg": "Avg", "params": "Params (%)", "latency": "Inference latency (%)", "training_time": "Training time"}
CHOSEN = "Each method has several settings. The best row is chosen by dev scores. Test scores are next to them."
AMONG = "If a method has several rows, only its row with the best dev score is compared with the other methods."
OTHER_TRAINING = "Rows with other training settings or other data are not compared. Their labels name the differences."
DEV_ONLY = "The scores are dev scores, because these runs were not scored on test."
# A table with more rows or runs has no intervals over examples and no tests: reading all predictions takes long.
MAX_ROWS, MAX_RUNS = 2_000, 10_000  # a table shows at most this number of rows, the best ones


@dataclass(frozen=True)
class Selection:
    """The runs of a report."""

    runs: pd.DataFrame
    waiting: int  # the number of runs that a sweep plans and that have not started
    others: int  # the number of runs of other sweeps that would fit the report's tables
    studies: Sequence[Study]  # the searches to which some of the runs belong
    problems: Sequence[str]  # messages about files that could not be used


def build_report(
    outputs: Path | Sequence[Path],
    *,
    format: str = "terminal",
    out: Path | None = None,
    figures: Path | None = None,
    width_mm: float = COLUMN_MM,
    latex: Mapping[str, Any] | None = None,
    **choice: Any,
) -> str:
    """Return the report as text, and write it to the file ``out`` if it is given.

    ``format`` is one of `krona.report.FORMATS`. ``choice`` contains the other arguments of `collect`. If ``figures`` is
    a folder, write the charts to this folder (`krona.report.figures.write_figures`). ``latex`` contains further
    arguments of `krona.report.latex.render_latex`.
    """
    from krona.report.render import find_renderer

    render = partial(find_renderer(format), **(latex or {}))
    if out is not None:
        require_out(out)
    report = collect(outputs, **choice)
    if figures is not None:
        from krona.report.figures import write_figures

        write_figures(report, figures, width_mm=width_mm)
    text = render(report, out)
    text = text if format == "terminal" else escape_control_characters(text)
    if out is not None:
        write_text(out, text)
    return text


def collect(
    outputs: Path | Sequence[Path],
    *,
    table: str | None = None,
    sweep: str | None = None,
    filters: Sequence[str] = (),
    run_ids: Collection[str] | None = None,
    baseline: str | None = None,
) -> Report:
    """Return the content of a report, independent of the output format.

    Args:
        outputs: folders with runs. The report lists the files in these folders that cannot be read.
        table: the number of one of the paper's tables. The report contains the runs of its sweep, ``tableN``.
        sweep: the name of the sweep whose runs the report contains. With ``table``, this sweep replaces the table's
            own sweep. If neither is given, the report contains all runs.
        filters: conditions ``key=value[,value]`` that the runs must meet.
        run_ids: the ids of the runs to include. None means all runs.
        baseline: the name of the reference row: a method, or the label or the name of a row. None means LoRA. If a
            method has several rows, the whole name of one of them compares all rows, not only the best ones on dev.
    """
    layout = find_layout(table, sweep)
    layout = replace(layout, sweep=sweep or layout.sweep, baseline=baseline or layout.baseline)
    folders = [runs_folder(path) for path in ([outputs] if isinstance(outputs, Path) else outputs)]
    selection = _select(folders, layout, filters, run_ids, required=sweep is not None)
    if any(study.name == sweep for study in selection.studies):
        layout = replace(layout, title=f"Study {sweep}", command="krona tune")
    bench, damaged = costs.benchmark_tables(layout, folders) if layout.name == "2" else ([], [])
    tables = [*bench, *_build_tables(layout, selection.runs)]
    _require_row(baseline, tables)
    report = _make_report(layout, selection, tables, damaged)
    if not any(cell.value is not None for one in tables for row in one.rows for cell in row.cells.values()):
        command = layout.command if table or sweep else f"{layout.command} profile=demo"
        report.empty = _empty_note(folders, report.unfinished, command)
    if layout.paper is not None:
        _add_printed(report, _paper_table(layout, layout.paper))
    if table is not None and selection.others:
        text = f"{plural(selection.others, 'run')} of other commands would also belong to this table. To see all runs:"
        report.tables[0].notes.append(Note(text, "krona report", "missing"))
    for one in report.tables:
        one.methods = report.methods
    return report


def _select(
    folders: Sequence[Path], layout: Layout, filters: Sequence[str], run_ids: Collection[str] | None, *, required: bool
) -> Selection:
    runs, problems = load_runs(folders)
    runs["row"] = runs.result.map(layout.row)
    fitting, planned = int(runs.row.notna().sum()), set[str](run_ids or ())
    if run_ids is not None:
        runs = runs[runs.run_id.isin([*run_ids])]
    elif layout.sweep is not None:
        planned = {name for folder in folders for name in load_run_ids(folder, layout.sweep)}
        runs = select_sweep(runs, layout.sweep, planned, required=required)
    others = fitting - int(runs.row.notna().sum())
    runs = select_where(runs, filters)
    found = [one for folder in folders for one in read_studies(folder)]
    problems += [str(one) for one in found if isinstance(one, KronaError)]
    studies = [one for one in found if isinstance(one, Study) and one.name in {*runs.sweep}]
    pruned = [trial.run_id for study in studies for trial in study.trials if trial.state == "pruned"]
    runs = runs[(runs.done | ~runs.run_id.isin(pruned)) & runs.row.notna()]
    begun = {id_ for id_ in planned if any(RunFolder(folder / id_).result.is_file() for folder in folders)}
    return Selection(runs, 0 if filters else len(planned - begun), others, studies, problems)


def _require_row(baseline: str | None, tables: Sequence[Table]) -> None:
    """Raise an error if no row has the name of the reference."""
    rows = [row for table in tables for row in table.rows if row.runs]
    if baseline is not None and not any(cells.names_row(baseline, row) for row in rows):
        names = did_you_mean(baseline, dict.fromkeys(row.name for row in rows))
        raise KronaError(f"--baseline {baseline}: the report has no row of this name: {names}")


def _make_report(layout: Layout, selection: Selection, tables: list[Table], damaged: Sequence[str]) -> Report:
    runs, subject = selection.runs, "" if layout.paper else describe_subject(tables)
    title = f"{layout.title}: {subject}" if subject else layout.title
    states = count_states(runs, selection.waiting)
    counts = f"{plural(len(runs) + selection.waiting, 'run')}: {states}" if states else "0 runs"
    problems = [*selection.problems, *damaged]
    return Report(title, tables, runs[runs.done], runs[~runs.done], counts, [*selection.studies], problems)


def _empty_note(folders: Sequence[Path], unfinished: pd.DataFrame, command: str) -> Note:
    states = count_states(unfinished)
    words = f"No finished run under {', '.join(map(str, folders))} belongs to this table."
    return Note(f"{words}{f' Not finished: {states}.' if states else ''} To start the runs:", command)


def _add_printed(report: Report, printed: Table) -> None:
    """Add the table with the paper's numbers, unless another table shows them beside the scores."""
    comparable = [table for table in report.tables if table.comparable]
    for table in comparable:
        table.notes += printed.notes
    report.tables += [] if comparable else [printed]


def _build_tables(layout: Layout, runs: pd.DataFrame) -> list[Table]:
    """Return one table per section. Runs on different kinds of data are therefore never in the same table."""
    if layout.tasks:  # GLUE and sample data are restricted to the paper's tasks; own data can have any task
        own = runs.section.map(lambda section: section.kind == "own")
        runs = runs[own | runs.task.str.removeprefix("sample_").isin(layout.tasks)]
    sections = dict(iter(runs.groupby("section", sort=False)))
    # Unfinished runs may not have recorded the sizes of their data. Move them to the section with other sizes, if any.
    for section in [one for one in sections if one.whole]:
        counted, group = replace(section, whole=False), sections[section]
        known = any(run.done or run.result.provenance.get("official_rows") for run in group.run)
        if not known and counted in sections:
            sections[counted] = pd.concat([sections[counted], sections.pop(section)])
    read = cells.examine_runs(runs)
    tables = []
    for section in sorted(sections, key=lambda one: one.order(sections[one])):
        group, split, notes = _choose_split(layout, sections[section])
        tables.append(_build_table(replace(layout, split=split), section, group, read))
        tables[-1].notes += notes
    return tables


def _choose_split(layout: Layout, runs: pd.DataFrame) -> tuple[pd.DataFrame, str, list[Note]]:
    """Return the runs of a section to show, the split whose scores to show, and notes on omitted runs.

    If some runs have test scores, omit the runs without test scores. If no run has test scores, as in a search for
    learning rates, the split is dev, except in a table of the paper.
    """
    scored = runs[runs.result.map(lambda result: bool(result.config.get("score_test", True)))]
    if layout.split != "test" or layout.quantity != "score" or len(scored) == len(runs):
        return runs, layout.split, []
    if scored.empty:
        return runs, "dev" if layout.paper is None else "test", []
    text = f"This table leaves out {plural(len(runs) - len(scored), 'run')} without test scores."
    return scored, "test", [Note(text, kind="missing")]


def _build_table(layout: Layout, section: Section, runs: pd.DataFrame, read: cells.Examine) -> Table:
    shown, described = {*runs.task}, runs[runs.done | ~runs.done.any()]
    comparable = bool(described.comparable.any())
    if comparable:  # other runs on GLUE need not cover all tasks of the table
        shown |= {*layout.tasks}
    elif section.kind == "sample":
        shown |= {f"sample_{task}" for task in layout.tasks}
    tasks = sorted(shown, key=task_order)
    rows, notes = group_rows(layout, runs)
    counts = Counter(row.key for row in rows if row.runs).values()  # for each method, the number of rows with runs
    if layout.quantity == "score" and layout.paper is None and layout.split == "test" and min(counts) > 1:
        layout = replace(layout, split="dev", also_shown_split="test", notes=(CHOSEN, *layout.notes))
    elif layout.split == "test" and max(counts) > 1 and not cells.compares_all_rows(rows, layout.baseline):
        notes = [AMONG, *notes]
    if len(rows) > MAX_ROWS or len(runs) > MAX_RUNS:
        read = cells.examine_nothing
        text = f"A table with over {MAX_ROWS:,} rows or {MAX_RUNS:,} runs has no intervals over examples and no tests."
        some = f" The best {MAX_ROWS:,} of {len(rows):,} rows are shown." if len(rows) > MAX_ROWS else ""
        notes = [f"{text}{some} To select runs, use --where or --sweep.", *notes]
        rows = _best_rows(rows, layout.split)
    heading, warning = section.heading(described), section.warning(described)
    table = Table(layout.name, layout.title, heading, layout.axis, [], rows, section, warning, comparable, layout.split)
    if layout.quantity == "score":
        if others := cells.label_other_training(rows, tasks):
            notes = [OTHER_TRAINING, *notes]
            for row in others:
                name_row(layout, row)
        notes += _fill_scores(layout, table, tasks, read)
    else:
        notes = [*costs.fill_times(layout, table, tasks), *notes]
    if layout.paper and comparable:
        for row in rows:
            _add_paper(row, layout)
    notes = [*layout.notes, *notes, *describe_runs(runs, shapes=not layout.by_shape)]
    table.notes = [*map(Note, notes), *power_note(table), *_missing_note(layout, table)]
    table.over_tasks = summarize_tasks(table)
    table.to_reference, table.pairs = list_reference_pairs(table), list_pairs(table)
    if layout.paper and (lines := compare_recipes(run.result.config for row in rows for run in row.first.values())):
        table.recipes = pd.DataFrame(lines)
        table.recipes.attrs |= {"title": RECIPE_TITLE, "legend": "Paper: the values that differ."}
    return table


def _fill_scores(layout: Layout, table: Table, tasks: Sequence[str], read: cells.Examine) -> list[str]:
    """Add the score columns and their cells to a table, and return notes on the scores."""
    for row in table.rows:
        for task in tasks:
            runs = row.runs.get(task)
            cell = cells.score_cell(runs, layout.split, read)
            row.cells[task] = cell or Cell(runs=runs, missing=_reason(runs, layout.split))
            if layout.also_shown_split:
                cell = cells.score_cell(runs, layout.also_shown_split, read)
                row.cells[f"{task} {layout.also_shown_split}"] = cell or Cell(missing="")
    cells.mark_columns(table, tasks, layout.baseline)
    split = " dev" if layout.split == "dev" else ""
    for task in tasks:
        table.columns.append(cells.score_column(task, f"{task_label(task)}{split}", "task", table.rows))
        if layout.also_shown_split:
            key, label = f"{task} {layout.also_shown_split}", f"{task_label(task)} {layout.also_shown_split}"
            table.columns.append(cells.score_column(key, label, "beside", table.rows))
    if layout.average and len(tasks) > 1:
        cells.add_averages(table, tasks, layout.baseline)
        section = table.section
        all_of_glue = section is not None and section.kind == "glue" and section.whole and tuple(tasks) == TASKS
        label = "GLUE avg" if all_of_glue else f"Mean of {len(tasks)}"
        table.columns.append(Column(AVERAGE, f"{label}{split}", "average"))
    costs.add_quantities(layout, table)
    notes = describe_limits(table, tasks)
    return [DEV_ONLY, *notes] if layout.split == "dev" and not layout.paper and not layout.also_shown_split else notes


def group_rows(layout: Layout, runs: pd.DataFrame) -> tuple[list[Row], list[str]]:
    """Group a section's runs into rows. Return the rows, without cells, in table order, and notes on variants.

    The variants of a method are groups of runs that differ in a setting other than the seed. Each variant has its own
    row. Variants on different tasks share a row if the settings that distinguish them are equal.
    """
    rows: dict[tuple[str, tuple[tuple[str, str], ...]], Row] = {}
    notes: list[str] = []
    for (key, task), group in runs.groupby(["row", "task"]):
        variants = _split_variants(group)
        settings_of = list_settings([first_run(one) for one in variants])
        keys = [*settings_of[0]]
        for one, settings in zip(variants, settings_of, strict=True):
            first = first_run(one)
            row = rows.setdefault((key, tuple(settings.items())), Row(key, settings=settings))
            row.runs[task], row.first[task] = one, first
        if len(variants) > 1:
            place = f"{layout.label(key)} on {task_label(task)}"
            notes.append(f"{place} has {len(variants)} variants ({', '.join(keys)}). Each has its own row.")
            if data := [name for name in keys if name in DATA]:
                latest = max(map(first_run, variants), key=lambda run: str(run.result.provenance["started"]))
                notes[-1] += f" The latest run has {', '.join(f'{name}={latest.settings.get(name)}' for name in data)}."
    for key in layout.rows:
        rows.setdefault((key, ()), Row(key))
    with_runs = {row.key for row in rows.values() if row.runs}
    found = [row for row in rows.values() if row.runs or row.key not in with_runs]
    found.sort(key=lambda row: (layout.order(row.key), [_by_size(*item) for item in row.settings.items()]))
    for row in found:
        name_row(layout, row)
    return found, first_few(notes, 5)


def _split_variants(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the runs of each variant. If any variant has finished runs, omit the variants without finished runs.

    A run that ended before it recorded its data fingerprints is added to a variant whose other settings are equal.
    """
    found = dict(iter(runs.groupby("variant", sort=False)))
    if runs.done.all():
        return [*found.values()]
    items = {variant: {*group.settings.iloc[0].items()} for variant, group in found.items()}
    for variant in [*found]:
        whole = next((other for other in found if other != variant and items[variant] < items[other]), None)
        if whole is not None:
            found[whole] = pd.concat([found[whole], found.pop(variant)])
    return [group for group in found.values() if group.done.any()] or [*found.values()]


def _by_size(key: str, value: str) -> tuple[str, float, str]:
    """Return a sort key that sorts lr=0.0001 before lr=0.001, and 2x384 before 12x64."""
    try:
        return key, float(value.split("x")[0]), value
    except ValueError:
        return key, float("inf"), value


def name_row(layout: Layout, row: Row) -> None:
    """Set a row's label and the text of its differing settings. The text names the shape of A that the layers use."""
    first = next(iter(row.first.values()), None)
    used, asked = (used_shape(first.result), asked_shape(first.result)) if first else (None, None)
    row.label = layout.label(row.key)
    shown = {key: setting_text(key, value) for key, value in row.settings.items()}
    if (key := "method.kron_factors") in shown:
        shown[key] = f"{used} (the paper's {asked})" if asked else used or row.settings[key]
    words = [f"{key.removeprefix('method.')}={value}" for key, value in shown.items()]
    if layout.by_shape and asked:  # in a table of shapes, the label is the shape that was used
        row.label, words = used or row.label, [f"the paper's {row.key}", *words]
    row.differs = ", ".join(words)


def _best_rows(rows: Sequence[Row], split: str) -> list[Row]:
    """Return the best `MAX_ROWS` rows, in the order of ``rows``: the rows with the most tasks and the highest mean."""

    def rank(row: Row) -> tuple[int, float]:
        means = [mean for runs in row.runs.values() if not np.isnan(mean := runs[split].mean())]
        return len(means), float(np.mean(means)) if means else 0.0

    kept = {*sorted(rows, key=rank, reverse=True)[:MAX_ROWS]}
    return [row for row in rows if row in kept]


def _reason(runs: pd.DataFrame | None, split: str) -> str:
    if runs is None:
        return "no run"
    if (running := next((run for run in runs.run if run.status == "running"), None)) is not None:
        return f"running, {running.result.reached}"
    states = {*runs.status}
    return "failed" if "failed" in states else f"no {split} score" if "done" in states else "interrupted"


def _missing_note(layout: Layout, table: Table) -> list[Note]:
    counts = Counter(row.cell(column.key).missing for row in table.rows for column in table.task_columns)
    states = [f"{counts[state]} {state}" for state in ("no run", "failed", "interrupted") if counts[state]]
    if not states or (layout.paper is None and not counts["failed"] + counts["interrupted"]):
        return []
    text = f"Cells without a score: {', '.join(states)}. To fill them, repeat the command that started the runs."
    text += " Correct the cause of a failure, and add retry=failed." * bool(counts["failed"])
    return [Note(text, kind="missing")]


def _add_paper(row: Row, layout: Layout) -> None:
    """Add the paper's numbers to the cells of comparable runs. For parameters, the difference is not shown."""
    if layout.paper is None or row.settings:
        return
    for key, cell in row.cells.items():
        if cell.runs is None or cell.runs.comparable.all():
            cell.paper = layout.paper.value(row.key, "training_time" if key == "time" else key)
            cell.comparable = key != "params"


def _paper_table(layout: Layout, paper: PaperTable) -> Table:
    keys = sorted(paper.columns, key=lambda key: (key != "params", task_order(key)))
    columns = [Column(key, PRINTED.get(key, task_label(key)), "paper") for key in keys]
    heading = "The printed numbers (T5-base, GLUE, single runs)"
    table = Table(layout.name, layout.title, heading, layout.axis, columns, [])
    digits = 0 if layout.quantity == "cost" else 2
    for key, values in paper.rows.items():
        printed = {name: Cell(value, digits=digits) for name, value in values.items()}
        table.rows.append(Row(key, layout.label(key), cells=printed))
    notes = []
    for (number, row), value in ERRATA.items():
        if number == layout.name:
            label, mean = layout.label(row), paper.rows[row]["avg"]
            notes.append(f"The paper prints the average {mean:.2f} for {label}, but the printed scores give {value}.")
    if {"avg", *TASKS} <= set(paper.columns):
        which = "other" if notes else "paper's"
        notes.append(f"The {which} averages agree with the printed scores to 0.01. The paper rounds ties down.")
    table.notes = [*map(Note, notes)]
    return table
