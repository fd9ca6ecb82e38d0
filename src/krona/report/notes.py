"""Build the notes of a report about its scores, runs and studies, and about the commands to run next."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from statistics import stdev

import pandas as pd

from krona.display_names import method_label, task_label
from krona.messages import first_few, join_names, plural, shorten
from krona.metrics.compare_methods import MIN_SEEDS
from krona.report.runs import (
    UNFINISHED,
    Runs,
    count_states,
    differing_data,
    format_differing,
)
from krona.report.table import Cell, Note, Report, Table
from krona.report.text import number
from krona.runs.description import predict_command
from krona.runs.folder import RunFolder
from krona.runs.studies import STATES, Study
from krona.runs.suspicious_scores import SIGN

MAX_NAMES = 4
NEXT = "Next"  # the heading of the next command
POWER_NOTE = "The test detects a true difference of this size four times out of five, and a smaller one less often"
ENVIRONMENT = (
    "torch",
    "transformers",
    "krona",
    "device",
    "devices",
    "scoring_precision",
)  # recorded properties that no setting determines


def table_notes(table: Table) -> list[Note]:
    """Return all notes below a table: the messages about its scores, then the other notes."""
    return [*score_notes(table), *table.notes]


def closing_notes(report: Report, *, errors: bool = True) -> Iterator[tuple[str, list[Note]]]:
    """Yield the sections after the tables, each as a heading and a list of notes.

    ``errors``: whether to include the errors of failed runs.
    """
    if report.studies:
        yield "Studies", [Note(describe_study(study, report.runs)) for study in report.studies]
    if (note := next_note(report)) is not None:
        yield NEXT, [note]
    if report.unfinished:
        runs = sorted(report.unfinished, key=lambda run: UNFINISHED.index(run.status))
        notes = []
        for run in runs:
            error = f": {run.result.error}" if errors and run.result.error else ""
            notes.append(Note(f"{run.run_id}: {run.status}, {run.result.reached}{error}"))
        yield f"Not finished ({count_states(report.unfinished, states=UNFINISHED)})", notes
    if report.problems:
        yield f"Could not be used ({len(report.problems)})", [Note(problem) for problem in report.problems]


def cell_messages(cell: Cell) -> list[str]:
    """Return the messages about a score as sentences.

    A message that applies only to some seeds ends with these seeds.
    """
    sentences = []
    for message, seeds in cell.messages.items():
        some = "" if seeds == cell.seeds else f" (seed {', '.join(map(str, seeds))})"
        sentences.append(f"{message.text}{some}.")
    return sentences


def score_notes(table: Table) -> list[Note]:
    """Return the messages about a table's scores, one note for each cause. Warnings are first and begin with `SIGN`."""
    lines = [
        (not message.warns, message.cause or text, column.task, text, row.name, row.label)
        for row, column in product(table.rows, table.columns)
        if column.kind != "average"  # an average only repeats the messages of its tasks
        for message, text in zip(row.cell(column.key).messages, cell_messages(row.cell(column.key)), strict=True)
    ]
    frame = pd.DataFrame(lines, columns=["quiet", "cause", "task", "text", "row", "label"])
    rows = plural(sum(bool(row.runs) for row in table.rows), "row")
    notes = []
    for (quiet, cause), group in sorted(frame.groupby(["quiet", "cause"], sort=False), key=lambda item: item[0][0]):
        texts = group.groupby(["task", "text"], sort=False).row.unique()
        tasks, labels = [*map(task_label, group.task.unique())], first_few([*group.label.unique()], MAX_NAMES)
        where = join_names(tasks) if len(tasks) <= MAX_NAMES else f"{len(tasks)} tasks"
        summary = f"{group.row.nunique()} of {rows} on {where}: {cause} ({join_names(labels)})."
        if len(texts) == 1:
            (((task, text), names),) = texts.items()
            named = ", ".join(names) if len(names) <= MAX_NAMES else f"{len(names)} rows"
            summary = f"{named} on {task_label(task)}: {text}"
        notes.append(Note(f"{'' if quiet else f'{SIGN} '}{summary}", kind="message" if quiet else "warning"))
    return notes


def describe_limits(table: Table, tasks: Sequence[str]) -> list[str]:
    """Return notes on limits of a table: single seeds, unequal numbers of seeds, cells without a test or interval."""
    cells = [row.cells[task] for task in tasks for row in table.rows if row.cells[task].value is not None]
    if not cells:
        return []
    notes = _search_note(table, tasks)
    sizes = sorted({len(cell.seeds) for cell in cells})
    if sizes[-1] < MIN_SEEDS:
        counts = "one seed" if sizes == [1] else f"fewer than {MIN_SEEDS} seeds"
        notes.append(f"Each cell has {counts}, so the tests are about these runs and not about the methods.")
    elif sizes[0] < MIN_SEEDS:
        few = f"Tests of cells with fewer than {MIN_SEEDS} seeds are about these runs and not about the methods."
        notes.append(few)
    if sizes[0] == 1 < sizes[-1]:
        notes.append("Cells with one seed are not tested against cells with several.")
    if untested := sum(cell.compared and not cell.best and cell.p is None for cell in cells):
        notes.append(f"{plural(untested, 'cell')} could not be tested against the best of the column.")
    return notes


def _search_note(table: Table, tasks: Sequence[str]) -> list[str]:
    """Return a note if trials with one seed chose the settings of a row. The row with the smallest margin is first."""
    margins = []
    for row, task in product(table.rows, tasks):
        done = [run for run in row.cells[task].runs if run.done]
        search = done[0].result.provenance.get("search") if done else None
        if search is None or search["seeds"] > 1 or search["second"] is None:
            continue
        name = f"{row.name} on {task_label(task)}" if len(tasks) > 1 else row.name
        scores = [run.result.dev["choice"] for run in done if run.result.dev]
        spread = f", spread over seeds {stdev(scores):.1f}" if len(scores) > 1 else ""
        margin = search["best"] - search["second"]
        margins.append((margin, f"{name}: {margin:.1f} points of dev apart{spread}"))
    if not margins:
        return []
    texts = first_few([text for _, text in sorted(margins)], MAX_NAMES)
    text = "The intervals are for fixed settings. The choice among settings, from trials with one seed, is not in them"
    return [f"{text} (best and second-best trial of {'; '.join(texts)})."]


def describe_mixture(runs: Runs) -> list[str]:
    """Return a note if finished runs of a table differ in their code, in library versions, or in `ENVIRONMENT`."""
    values: dict[str, dict[str, None]] = defaultdict(dict)
    for run in runs:
        known = run.result.provenance
        versions = known.get("versions") or {}
        recorded = {"scoring_precision": "32-true", **versions, **known}
        properties = {name: recorded.get(name) for name in ENVIRONMENT}
        properties["the commit of krona's code"] = str(known.get("git_commit") or "")[:10] or None
        properties[f"the code of {method_label(run.method)}"] = known.get("method_code")
        for name, value in properties.items() if run.done else ():
            if value is not None:
                values[name][str(value)] = None
    differing = {name: first_few(sorted(found), MAX_NAMES) for name, found in values.items() if len(found) > 1}
    words = [f"{name} ({' or '.join(found)})" for name, found in differing.items()]
    return [f"The runs differ in {join_names(words)}."] if words else []


def power_note(table: Table) -> list[Note]:
    """Return a note with the smallest true difference that the test can detect between the two best rows of each task.

    A table with a reference row has this number for each of its differences instead.
    """
    if table.pairs["p_reference"].notna().any():
        return []
    best = {(row.name, key) for row in table.rows for key, cell in row.cells.items() if cell.best}
    differences = []
    for column in table.task_columns:
        pairs = table.pairs[table.pairs["column"] == column.key].sort_values("difference", kind="stable")
        first = next((pair for pair in pairs.itertuples() if (pair.row, column.key) in best), None)
        if first is not None and first.detectable:
            seeds = " and ".join(dict.fromkeys(plural(count, "seed") for count in first.seeds))
            counts = f"{', '.join(column.details[-1:])}, {seeds}"
            names = f"{first.row} and {first.reference}"
            differences.append(f"{task_label(column.key)} {number(first.detectable)} ({names}, {counts})")
    text = f"{POWER_NOTE} (level 5 %, the best two rows): {', '.join(differences)}."
    return [Note(text, kind="power")] if differences else []


def next_note(report: Report) -> Note | None:
    """Return a note with a command that uses a run of the best row, in the first table that has a best row.

    The run is the row's run with the best dev score on its first task, because scores of different tasks cannot be
    compared. The test score is never used for a choice.
    """
    for table in report.tables:
        first = table.score_columns[:1]
        best = [row for row in table.rows if any(row.cell(column.key).best for column in first)]
        for row, task in product(best[:1] if len(table.rows) > 1 else table.rows, table.task_columns):
            cell = row.cell(task.key)
            if cell.value is not None:
                run = max(cell.runs, key=lambda run: run.scores.get("dev", 0.0))
                show = f"krona show {run.run_id} --mistakes 20"  # not the folder: that of a pack is temporary
                command = predict_command(RunFolder(run.path.parent), run.result) or show
                return Note(f"The run of {row.name} on {shorten(task.key)} with the best dev score:", command)
    return None


def describe_study(study: Study, runs: Runs) -> str:
    """Describe a search: its trials, its best trial, and differences in the data of its runs."""
    counts = Counter(trial.state for trial in study.trials)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES.values() if counts[state])
    text = f"{study.name}: {plural(len(study.trials), 'trial')} ({states})."
    made = [run for run in runs if run.sweep == study.name]
    if differing := dict.fromkeys(key for run in made[1:] for key in differing_data(made[0], run)):
        words = format_differing([*differing])
        text += f" The trials were not run on the same data ({words}), so do not compare their scores."
    if study.best is None:
        return text
    values = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in study.best.params.items()}
    best = f"Trial {study.best.number} has the best dev score, {study.best.value:.2f}"
    return f"{text} {best}, with {' '.join(f'{key}={value}' for key, value in values.items())}."
