"""Build the report of `krona report`: select the runs, build one table per section, and render the tables."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from krona.display_names import task_label, task_order
from krona.messages import KronaError, did_you_mean, escape_control_characters, plural
from krona.paper import TASKS
from krona.paths import choice_files
from krona.report import cells, costs
from krona.report.best_of_k import find_best_of_k
from krona.report.layouts import (
    RECIPE_TITLE,
    Layout,
    add_paper_numbers,
    compare_recipes,
    find_layout,
    group_rows,
    name_row,
    paper_table,
)
from krona.report.pairs import set_pairs
from krona.report.runs import (
    POOLING,
    ReportRun,
    Runs,
    Section,
    count_states,
    find_metrics,
    group_by,
    load_runs,
    use_metric,
)
from krona.report.sentences import describe_limits, describe_mixture, score_notes
from krona.report.table import AVERAGE, Cell, Column, Note, Report, Table, run_frame
from krona.runs.choose import filter_runs, filter_value
from krona.runs.folder import RunFolder, require_out
from krona.runs.pack import unpacked_folder
from krona.runs.studies import Study, read_studies
from krona.runs.suspicious_scores import examine_scores
from krona.runs.sweep import load_run_ids
from krona.safe_files import write_text

CHOSEN = "Each method has several settings. The best row is chosen by dev scores. Test scores are next to them."
ONE_ROW = "If a method has several rows, only its row with the best dev score is compared with the other methods."
OTHER_TRAINING = "Rows with other training settings or other data are not compared. Their labels name the differences."
DEV_ONLY = "The scores are dev scores, because these runs were not scored on test."
# With more rows or runs, a table has no intervals over examples and no tests, because reading predictions takes long.
MAX_ROWS, MAX_RUNS = 2_000, 10_000
LIMITS = (
    f"A table with over {MAX_ROWS:,} rows or {MAX_RUNS:,} runs has no intervals over examples and no tests. To select "
    "runs, use --where or --sweep."
)
WHERE_KEYS = ("method", "task", "seed", "state", "sweep", "run", "any key of the config")


def build_report(
    outputs: Path | Sequence[Path],
    *,
    format: str = "terminal",
    out: Path | None = None,
    **query: Any,
) -> str:
    """Return the report as text, and write it to the file ``out`` if it is given.

    ``format`` is one of `krona.report.FORMATS`. ``query`` contains the other arguments of `collect`.
    """
    from krona.report.render import find_renderer

    render = find_renderer(format)
    if out is not None:
        require_out(out)
    report = collect(outputs, **query)
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
    metric: str | None = None,
    columns: Sequence[str] = (),
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
        columns: the columns to show (`krona.report.costs.choose_columns`).
        metric: the metric that is compared instead of the tasks' scores. Not for a table of the paper.
    """
    layout = find_layout(table, sweep)
    layout = replace(layout, sweep=sweep or layout.sweep, baseline=baseline or layout.baseline)
    if metric is not None and layout.paper is not None:
        raise KronaError(f"--metric {metric} cannot be used with --table {table}, which shows the paper's metrics.")
    paths = [outputs] if isinstance(outputs, Path) else outputs
    folders = [unpacked_folder(path) for path in paths]
    selected = _select_runs(folders, layout, filters, run_ids, metric, required=sweep is not None)
    runs, waiting, studies, problems = selected
    if any(study.name == sweep for study in studies):
        layout = replace(layout, title=f"Study {sweep}", command="krona tune")
    tables = _build_tables(layout, runs)
    rows = [row for table in tables for row in table.rows if row.runs]
    if baseline is not None and not any(cells.names_row(baseline, row) for row in rows):
        names = did_you_mean(baseline, dict.fromkeys(row.name for row in rows))
        raise KronaError(f"--baseline {baseline}: the report has no row of this name: {names}")
    states = count_states(runs, waiting)
    counts = f"{plural(len(runs) + waiting, 'run')}: {states}" if states else "0 runs"
    done, unfinished = [run for run in runs if run.done], [run for run in runs if not run.done]
    report = Report(layout.title, tables, done, unfinished, counts, studies, problems)
    if not any(cell.value is not None for table in tables for row in table.rows for cell in row.cells.values()):
        command = layout.command if layout.sweep else f"{layout.command} profile=demo"
        text = f"No finished run under {', '.join(map(str, paths))} belongs to this table."
        advice = "To start the runs:" if command else "Repeat the command that started the runs."
        report.empty = Note(f"{text} {advice}", command)
    if layout.paper is not None and not any(each.comparable for each in tables):
        tables.append(paper_table(layout, layout.paper))
    for each_table in report.tables:
        each_table.methods = report.methods
        each_table.shown = costs.choose_columns(each_table, columns)
        each_table.cells = cells.cell_frame(each_table)
    return report


def _build_tables(layout: Layout, runs: Runs) -> list[Table]:
    """Return one table per section. Runs on different kinds of data are therefore never in the same table."""
    if layout.tasks:  # GLUE and sample data are restricted to the paper's tasks; own data can have any task
        tasks = layout.tasks
        runs = [run for run in runs if run.section.kind == "own" or run.task.removeprefix("sample_") in tasks]
    by_section = group_by(runs, lambda run: run.section)
    # Unfinished runs may not have recorded the sizes of their data. Move them to the section with other sizes, if any.
    for section in [section for section in by_section if section.complete]:
        incomplete, group = replace(section, complete=False), by_section[section]
        known = any(run.done or run.result.provenance.get("official_rows") for run in group)
        if not known and incomplete in by_section:
            by_section[incomplete] += by_section.pop(section)
    examine: cells.Examine = cache(lambda run: examine_scores(run.result, run.path.parent))
    ordered = sorted(by_section.items(), key=lambda item: item[0].order(item[1]))
    return [_build_table(layout, section, group, examine) for section, group in ordered]


def _build_table(layout: Layout, section: Section, runs: Runs, examine: cells.Examine) -> Table:
    layout, runs, notes = _choose_split(layout, runs)
    rows = group_rows(layout, runs)
    counts = Counter(row.key for row in rows if row.runs)
    scored = layout.quantity == "score"
    if scored and layout.paper is None and layout.split == "test" and min(counts.values()) > 1:
        # Each method has several rows. Show dev scores to choose by, and test scores next to them.
        layout = replace(layout, split="dev", also_shown_split="test", notes=(CHOSEN, *layout.notes))
    limits = []
    if len(rows) > MAX_ROWS or len(runs) > MAX_RUNS:
        examine = cells.examine_nothing
        limits = [LIMITS]
    described = [run for run in runs if run.done] or runs
    heading, warning = section.heading(described), section.warning(described)
    comparable = any(run.comparable for run in described)
    table = Table(layout.name, layout.title, heading, layout.axis, [], rows, section, warning, comparable, layout.split)
    # Other runs on GLUE, and own data, need not cover all tasks of the layout.
    prefix = "" if comparable else "sample_"
    shown = [f"{prefix}{task}" for task in layout.tasks] if comparable or section.kind == "sample" else []
    tasks = sorted({*(run.task for run in runs), *shown}, key=task_order)
    others = cells.label_other_training(rows, tasks) if scored else []
    for row in others:
        name_row(layout, row)
    table.runs = run_frame(rows)
    names_variant = any(row.name == layout.baseline and row.differs for row in rows)
    table.compares_all_rows = layout.split != "test" or names_variant
    limits += [ONE_ROW] * (not table.compares_all_rows and max(counts.values()) > 1)
    limits += _fill_scores(layout, table, tasks, examine) if scored else costs.fill_times(layout, table, tasks)
    texts = [*layout.notes, *[OTHER_TRAINING] * bool(others), *limits, *describe_mixture(runs), *notes]
    table.notes = [*score_notes(table), *map(Note, texts)]
    if layout.paper and comparable:
        add_paper_numbers(rows, layout.paper)
    if layout.paper is None and scored:
        table.best_of_k = find_best_of_k(table, examine)
    if layout.paper and (lines := compare_recipes(run.result.config for row in rows for run in row.first.values())):
        table.recipes = pd.DataFrame(lines)
        table.recipes.attrs |= {"title": RECIPE_TITLE, "legend": "Paper: the values that differ."}
    return table


def _choose_split(layout: Layout, runs: Runs) -> tuple[Layout, Runs, list[str]]:
    """Return the layout with the split to show, the runs to show, and notes on omitted runs.

    If some runs have test scores, omit the runs without test scores. If no run has test scores, as in a search for
    learning rates, the split is dev, except in a table of the paper.
    """
    scored = [run for run in runs if run.result.config.get("score_test", True)]
    if layout.split != "test" or layout.quantity != "score" or len(scored) == len(runs):
        return layout, runs, []
    if not scored:
        return layout if layout.paper else replace(layout, split="dev"), runs, []
    return layout, scored, [f"This table leaves out {plural(len(runs) - len(scored), 'run')} without test scores."]


def _fill_scores(layout: Layout, table: Table, tasks: Sequence[str], examine: cells.Examine) -> list[str]:
    """Add the score columns and their cells to a table, and return notes on the scores."""
    dev = " dev" if layout.split == "dev" else ""
    for task in tasks:
        for row in table.rows:
            runs = row.runs.get(task, [])
            cell = cells.score_cell(runs, layout.split, examine)
            row.cells[task] = cell or Cell(runs=runs, missing=_reason(runs, layout.split))
        table.columns.append(cells.score_column(task, f"{task_label(task)}{dev}", "task", table.rows))
        if (other := layout.also_shown_split) is not None:
            for row in table.rows:
                cell = cells.score_cell(row.runs.get(task, []), other, examine)
                row.cells[f"{task} {other}"] = cell or Cell(missing="")
            label = f"{task_label(task)} {other}"
            table.columns.append(cells.score_column(f"{task} {other}", label, "other_split", table.rows))
    pairs = cells.mark_columns(table, {task: [task] for task in tasks}, layout.baseline)
    if layout.average and len(tasks) > 1:
        cells.average_tasks(table, tasks)
        pairs += cells.mark_columns(table, {AVERAGE: tasks}, layout.baseline)
        section = table.section
        all_of_glue = section is not None and section.kind == "glue" and section.complete and tuple(tasks) == TASKS
        label = "GLUE avg" if all_of_glue else f"Mean of {len(tasks)}"
        table.columns.append(Column(AVERAGE, f"{label}{dev}", "average"))
    set_pairs(table, pairs)
    costs.add_quantities(layout, table)
    notes = describe_limits(table, tasks)
    return [DEV_ONLY, *notes] if dev and not layout.paper and not layout.also_shown_split else notes


def _reason(runs: Runs, split: str) -> str:
    """Return why a cell has no score."""
    if not runs:
        return "no run"
    if (running := next((run for run in runs if run.status == "running"), None)) is not None:
        return f"running, {running.result.reached}"
    states = {run.status for run in runs}
    return "failed" if "failed" in states else f"no {split} score" if "done" in states else "interrupted"


def _select_runs(
    folders: Sequence[Path],
    layout: Layout,
    filters: Sequence[str],
    run_ids: Collection[str] | None,
    metric: str | None,
    *,
    required: bool,
) -> tuple[list[ReportRun], int, list[Study], list[str]]:
    """Read the runs that belong to a layout, and select those of its sweep or of ``run_ids`` that meet all filters.

    Return these runs, the number of runs that the sweep plans and that have not started, the searches to which some of
    the runs belong, and messages about files that could not be used.

    If ``metric`` is given, it is the score of the runs, and runs without this metric are left out.

    Raises:
        KronaError: the sweep has no runs, and ``required`` is true; or no run has the metric.
    """
    runs, problems = load_runs(folders)
    fitting, planned = {run for run in runs if layout.row(run.result) is not None}, set[str](run_ids or ())
    if run_ids is not None:
        runs = [run for run in runs if run.run_id in planned]
    elif layout.sweep is not None:
        planned = {name for folder in folders for name in load_run_ids(folder, layout.sweep)}
        runs = _select_sweep(runs, layout.sweep, planned, required=required)
    runs = filter_runs(runs, filters, _filter_value, WHERE_KEYS)
    sweeps, studies = {run.sweep for run in runs}, []
    for study in [study for folder in folders for study in read_studies(folder)]:
        if isinstance(study, KronaError):
            problems.append(str(study))
        elif study.name in sweeps:
            studies.append(study)
    pruned = {trial.run_id for study in studies for trial in study.trials if trial.state == "pruned"}
    runs = [run for run in runs if run in fitting and (run.done or run.run_id not in pruned)]
    several = any(text.startswith(f"{POOLING}=") and "," in text for text in filters)
    if several or (layout.sweep and any(run.varies_pooling for run in runs)):
        runs = [replace(run, varies_pooling=True) for run in runs]
    if metric is not None and runs:
        known = dict.fromkeys(name for run in runs for name in find_metrics(run))
        runs = [use_metric(run, metric) for run in runs if metric in find_metrics(run)]
        if not runs:
            raise KronaError(f"--metric {metric}: no run has this metric: {did_you_mean(metric, known)}")
    begun = {run_id for run_id in planned if any(RunFolder(folder / run_id).result.is_file() for folder in folders)}
    return runs, 0 if filters else len(planned - begun), studies, problems


def _select_sweep(runs: Runs, sweep: str, planned: Collection[str], *, required: bool) -> list[ReportRun]:
    """Return the runs of a sweep, including the runs in ``planned`` that were finished when the sweep started."""
    selected = [run for run in runs if run.sweep == sweep or run.run_id in planned]
    if selected or not required:
        return selected
    names, shipped = sorted({run.sweep for run in runs if run.sweep}), choice_files("sweeps")
    if sweep in shipped:
        others = f" (sweeps with runs: {', '.join(names)})" if names else ""
        raise KronaError(
            f"The sweep {sweep} has no runs here{others}. To start them, run: krona train -m sweeps={sweep}"
        )
    raise KronaError(
        f"The sweep {sweep} was not found: {did_you_mean(sweep, dict.fromkeys([*names, *sorted(shipped)]))}"
    )


def _filter_value(run: ReportRun, key: str) -> str | None:
    known = run.settings.get(key) or run.settings.get(f"method.{key}")
    return known or filter_value(run.run_id, run.status, run.result.config, key)
