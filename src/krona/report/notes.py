"""Build the notes below the tables of a report, with commands for missing runs and next steps."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from krona import paths
from krona.formatting import below
from krona.messages import amount, first_few, shorten
from krona.paper import task_label
from krona.report.stored_runs import UNFINISHED, StoredRun, count_unfinished, differing_data, finished, format_differing
from krona.report.table import Cell, Column, Note, Report, Table
from krona.runs.folder import RunFolder
from krona.runs.result import Result
from krona.runs.studies import Study, Trial
from krona.runs.suspicious_scores import SIGN

MOST_REMARKS, MOST_NAMES = 20, 4
STATES = ("finished", "pruned", "failed", "running")  # states of trials
MOST_PRUNED = 12
MOST_MISSING = 12  # number of rows with missing runs, and of their tasks, that have a command
ABSENT = ("no run", "not measured")
CORRECT = ' Correct the cause, which is listed under "Not finished", before you repeat the run.'


def table_notes(table: Table) -> list[Note]:
    """Return all notes below a table: remarks on scores, general notes, and missing runs with their commands."""
    return [
        *(Note(line, kind="warning" if line.startswith(SIGN) else "remark") for line in score_remarks(table)),
        *(Note(line) for line in table.notes),
        *table.other_notes,
        *_missing_notes(table),
    ]


def closing_notes(report: Report) -> Iterator[tuple[str, list[Note]]]:
    """Yield the sections after the tables, each as a heading and a list of notes."""
    for study in report.studies:
        yield f"Study {study.name}", [Note(line) for line in study_sentences(study, report.runs)]
    if commands := next_commands(report):
        yield "Next", commands
    if report.unfinished:
        notes = []
        for run in sorted(report.unfinished, key=lambda run: UNFINISHED.index(run.status)):
            why = f": {run.result.error}" if run.result.error else ""
            notes.append(Note(f"{run.result.run_id}: {run.status}, {run.result.reached}{why}"))
        yield f"Not finished ({count_unfinished(report.unfinished)})", notes
    if report.problems:
        yield f"Could not be used ({len(report.problems)})", [Note(problem) for problem in report.problems]


def best_run(cell: Cell) -> StoredRun | None:
    """Return the finished run with the best dev score. The test score is never used for the choice."""
    return max(finished(cell.runs), key=lambda run: run.score("dev") or 0.0, default=None)


def best_run_notes(table: Table) -> Iterator[list[Note]]:
    """Yield notes on the best run of each row and task: its id, and commands that use its weights or compare it."""
    for row in table.rows:
        for column in table.task_columns:
            cells = [one.cell(column.key) for one in table.rows]
            cell, best = row.cell(column.key), next((one for one in cells if one.best), None)
            if (run := best_run(cell)) is None:
                continue
            notes = [Note(f"{row.name} on {column.label}: {run.result.run_id}")]
            notes += run_commands(run.path.parent, run.result)
            if best is not None and best is not cell and (other := best_run(best)) is not None:
                command = f"krona diff {other.result.run_id} {run.result.run_id}"
                notes.append(Note("Compare with the best row:", command))
            yield notes


def run_commands(path: Path, result: Result) -> list[Note]:
    """Return notes with the commands that use the weights of the run in ``path``, or a note that no weights exist."""
    folder = RunFolder(path)
    if not folder.adapter.is_file() and (result.trainable_params or result.head_params):
        return [Note("This run kept no weights. Add keep=all and overwrite=true to its command to keep them.")]
    name = shlex.quote(folder.path.name if folder.path.parent == paths.OUTPUTS else below(folder.path))
    return [
        Note("Predict with its weights:", f"krona predict {name} --input FILE"),
        Note("Export its weights:", f"krona export {name} --to merged --out FOLDER"),
    ]


def describe_provenance(result: Result) -> str:
    """Return the code, machine, backbone and libraries of a run as text."""
    found = result.provenance
    versions = ", ".join(f"{name} {version}" for name, version in (found.get("versions") or {}).items())
    changed = " with uncommitted changes" if found.get("git_dirty") else ""
    threads = f", {amount(found['threads'], 'thread')}" if found.get("threads") else ""
    return (
        f"code {found.get('git_commit')}{changed}; {found.get('device')}{threads}; "
        f"backbone {found.get('backbone_fingerprint')}; {versions}"
    )


def next_commands(report: Report) -> list[Note]:
    """Return notes with commands that use a run of the best row, in the first table that has a best row.

    The run is the row's best run on its first task, because scores of different tasks can't be compared.
    """
    for table in report.tables:
        columns = table.score_columns
        tasks = [column for column in columns if column.kind == "task"]
        best = [row for row in table.rows if any(row.cell(column.key).best for column in columns[:1])]
        for row, task in product(best[:1] if len(table.rows) > 1 else table.rows, tasks):
            if run := best_run(row.cell(task.key)):
                text = f"The best run of {row.name} on {shorten(task.key)} by its dev score"
                return [Note(f"{text}: {run.result.run_id}"), *run_commands(run.path.parent, run.result)]
    return []


def cell_remarks(cell: Cell) -> list[str]:
    """Return the remarks on a score as sentences. A remark on only some of the seeds lists these seeds."""
    found = []
    for remark, seeds in cell.remarks.items():
        some = "" if seeds == cell.seeds else f" (seed {', '.join(map(str, seeds))})"
        found.append(f"{remark.text}{some}.")
    return found


def score_remarks(table: Table, shown: Column | None = None) -> list[str]:
    """Return the remarks on a table's scores as sentences. Warnings come first and begin with their sign.

    If ``shown`` is a column of a task, only the remarks on this column are returned.
    """
    rows_of: dict[tuple[str, bool, str], dict[str, None]] = defaultdict(dict)
    for row in table.rows:
        for column in table.columns:
            if column.kind == "average" or (shown and shown.kind != "average" and shown != column):
                continue  # the remarks on an average are those on its tasks
            cell = row.cell(column.key)
            for remark, text in zip(cell.remarks, cell_remarks(cell), strict=True):
                task = column.key.rsplit(" ", 1)[0] if column.kind == "beside" else column.key
                rows_of[task_label(task), remark.warns, text][row.name] = None
    found = []
    for (task, warns, text), names in rows_of.items():
        rows = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} rows"
        found.append((not warns, f"{f'{SIGN} ' if warns else ''}{rows} on {task}: {text}"))
    return first_few([line for _, line in sorted(found, key=lambda one: one[0])], MOST_REMARKS)


def _missing_notes(table: Table) -> Iterator[Note]:
    labels = {column.key: column.label for column in table.columns}
    failures, lacking = [], 0
    for row in table.rows:
        absent: dict[tuple[str, ...], list[str]] = defaultdict(list)  # from a command without its task to columns
        for key, label in labels.items():
            cell = row.cell(key)
            if cell.command is not None and cell.missing in ABSENT:
                words = shlex.split(cell.command)
                absent[tuple("task=" if word == f"task={key}" else word for word in words)].append(key)
            elif cell.command is not None:
                advice = CORRECT if cell.missing == "failed" else ""
                failures.append(Note(f"{row.name} on {label}: {cell.missing}.{advice}", cell.command, "missing"))
        lacking += bool(absent)
        for command, keys in absent.items() if lacking <= MOST_MISSING else ():
            columns = ", ".join(first_few([labels[key] for key in keys], MOST_MISSING))
            tasks = f"task={','.join(keys if len(keys) <= MOST_MISSING + 1 else keys[:MOST_MISSING])}"
            typed = shlex.join(tasks if word == "task=" else word for word in command)
            yield Note(f"Missing: {row.name} on {columns}.", typed, "missing")
    if lacking > MOST_MISSING:
        yield Note(f"{lacking - MOST_MISSING} more rows lack runs.", kind="missing")
    yield from failures


def study_sentences(study: Study, runs: Sequence[StoredRun]) -> list[str]:
    """Describe a search: its trials, its best trial, the importance of each axis, and whether its data differ."""
    counts = Counter(trial.state for trial in study.trials)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    lines = [f"{amount(len(study.trials), 'trial')}: {states}."]
    made = [run for run in runs if run.sweep == study.name]
    if odd := differing_data(made):
        lines.append(
            f"The trials were not run on the same data ({format_differing(odd)}), so do not compare their scores."
        )
    if study.best is None:
        return [*lines, "No trial has finished yet."]
    lines.append(
        f"Trial {study.best.number} has the best dev score, {study.best.value:.2f}, with {_trial_values(study.best)}."
    )
    pruned = [f"{trial.number} ({_trial_values(trial)})" for trial in study.trials if trial.state == "pruned"]
    lines += [f"Pruned trials: {', '.join(first_few(pruned, MOST_PRUNED))}."] if pruned else []
    if study.importances:
        shares = ", ".join(f"{key} {100 * share:.0f} %" for key, share in study.importances.items())
        lines.append(f"Importance of each axis for the best half of the trials (PED-ANOVA): {shares}.")
    return lines


def _trial_values(trial: Trial) -> str:
    shown = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in trial.params.items()}
    return " ".join(f"{key}={value}" for key, value in shown.items())
