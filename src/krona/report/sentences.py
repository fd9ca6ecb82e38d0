"""Write the sentences of a report: its summary, the notes below its tables, the legend, and the closing notes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from statistics import stdev

from krona.display_names import method_label, task_label
from krona.messages import first_few, join_names, plural, shorten
from krona.metrics.compare_methods import MIN_SEEDS
from krona.report.pairs import ALPHA, format_interval
from krona.report.runs import UNFINISHED, Runs, count_states
from krona.report.table import BestOfK, Cell, Column, Note, Report, Row, Table
from krona.report.text import BEST, SIGNS, TIED, cell_value, short_names, signed
from krona.runs.description import predict_command
from krona.runs.folder import RunFolder
from krona.runs.studies import STATES, Study
from krona.runs.suspicious_scores import SIGN

MAX_NAMED = 3  # a sentence names at most this number of rows
MAX_NAME = 48  # longer names are shortened
MAX_NAMES = 4  # a note names at most this number of rows, tasks or values
MAX_SENTENCES = 4  # a report begins with at most this number of sentences
TRIALS = 6  # the number of trials in the sentence about a grid, if the grid has as many settings
NEXT = "Next"  # the heading of the next command
# Recorded properties that no setting determines.
ENVIRONMENT = ("torch", "transformers", "krona", "device", "devices", "scoring_precision", "git_commit")


def summarize(report: Report) -> list[str]:
    """Return the first sentences of a report: which row is best in each table, and whether this is certain."""
    tables = [table for table in report.tables if _marked_columns(table)]
    lines = []
    for table in tables:
        start = f"{table.heading}: " if len(tables) > 1 else ""
        grids = [grid for grid in table.best_of_k if len(grid.pairs)]
        columns = [] if grids else _marked_columns(table)
        if columns and columns[0].kind == "average":
            columns = columns[:1]
        sentences = [*map(_summarize_grid, grids), *(_summarize_column(table, column) for column in columns)]
        lines += [f"{start}{sentence}" for sentence in sentences]
    return lines[:MAX_SENTENCES]


def _marked_columns(table: Table) -> list[Column]:
    return [column for column in table.score_columns if any(row.cell(column.key).best for row in table.rows)]


def _summarize_grid(found: BestOfK) -> str:
    """Return a sentence on the differences after k trials of tuning."""
    k = TRIALS if TRIALS in {*found.pairs.k} else found.pairs.k.max()
    parts = []
    for pair in found.pairs[found.pairs.k == k][:MAX_NAMED].itertuples():
        verdict = "not certain" if pair.p_holm > ALPHA else "better" if pair.difference > 0 else "worse"
        numbers = f"{signed(pair.difference)} points ({format_interval(pair)})"
        parts.append(f"{pair.row} − {pair.reference} {numbers}: {verdict}")
    return f"After {k} trials of tuning on {found.task}: {'; '.join(parts)}."


def _summarize_column(table: Table, column: Column) -> str:
    """Return a sentence on the best row of a column, and a sentence on the rows that differ from the reference."""
    cells = {row: row.cell(column.key) for row in table.rows}
    best = [row for row in table.rows if cells[row].best]
    tied = sorted((row for row in table.rows if cells[row].tied), key=lambda row: -(cells[row].value or 0.0))
    worse = [cell.p is not None and not cell.tied for cell in cells.values() if cell.compared and not cell.best]
    subject = column.label if column.kind == "task" else f"the {column.label.replace('Mean', 'mean')}"
    subject += f" ({column.details[-1]})" if column.examples else ""
    names = short_names([*best, *tied])
    shown = [
        f"{shorten(names[row.name], MAX_NAME)} {cell_value(cells[row])}{SIGN * cells[row].warned}"
        for row in [*best, *tied][:MAX_NAMED]
    ]
    if (more := len(best) + len(tied) - MAX_NAMED) > 0:
        shown.append(f"{more} more")
    if worse and all(worse) and len(best) == 1 and not cells[best[0]].warned:
        text = f"{shown[0]} leads on {subject}; all other compared rows are significantly worse."
    elif any(cells[row].p is not None for row in [*best, *tied]):
        text = f"No row leads on {subject}: {join_names(shown)} are not significantly different."
    else:
        has = "has" if len(best) == 1 else "have"
        text = f"No row leads on {subject}: {join_names(shown)} {has} the highest score."
    text += _compare_with_reference(table, column)
    few = any(cell.p is not None and cell.tested_seeds < MIN_SEEDS for cell in cells.values())
    return f"{text} Fewer than {MIN_SEEDS} seeds cannot show which method is better." if few else text


def _compare_with_reference(table: Table, column: Column) -> str:
    """Return a sentence on the rows that differ from the reference row, if the other pairs are tested too."""
    reference = table.references.get(column.key)
    pairs = table.pairs[table.pairs["column"] == column.key]
    if reference is None or pairs["p_reference"].notna().all():
        return ""
    by_word = {
        word: [row for row in table.rows if row.cell(column.key).sign == sign]
        for sign, word in ((1, "better"), (-1, "worse"))
    }
    names = short_names([reference, *by_word["better"], *by_word["worse"]])
    parts = []
    for word, rows in by_word.items():
        named = join_names([shorten(names[row.name], MAX_NAME) for row in rows])
        subject = named if len(rows) <= MAX_NAMED else plural(len(rows), "row")
        if rows:
            parts.append(f"{subject} {'is' if len(rows) == 1 else 'are'} significantly {word}")
    return f" Compared with {shorten(names[reference.name], MAX_NAME)}, {join_names(parts)}." if parts else ""


def legend(tables: Sequence[Table]) -> str:
    """Return sentences that explain the lines and marks in the cells of a report's tables, or "" for other tables."""
    cells = [cell for table in tables if table.section for row in table.rows for cell in row.cells.values()]
    if not cells:
        return ""
    references = {short_names(table.rows)[row.name] for table in tables for row in table.references.values()}
    marks = f"{SIGNS[1]} or {SIGNS[-1]}: significantly better or worse than {' or '.join(sorted(references))}"
    parts = {
        "Mean over seeds": True,
        "±: half of Student's t interval over seeds (95 %)": any(len(cell.by_seed) > 2 for cell in cells),
        "from…to: the range of two seeds": any(len(cell.by_seed) == 2 for cell in cells),
        "from–to: bootstrap over the scored set's examples (95 %)": any(cell.test_interval for cell in cells),
        "Δ: difference from the paper's number": any(cell.difference is not None for cell in cells),
        f"{BEST}: best, {TIED}: not significantly worse (Holm over all pairs of rows and all tasks)": any(
            cell.best for cell in cells
        ),
        f"{marks} (Holm over these pairs)": any(cell.sign for cell in cells),
        "significance: Student's t-test over examples and seeds (5 % level)": any(
            cell.tied or cell.sign for cell in cells
        ),
        f"{SIGN}: a warning, see the notes": any(cell.warned for cell in cells),
    }
    return f"{'; '.join(part for part, is_used in parts.items() if is_used)}."


def closing_notes(report: Report, *, errors: bool = True) -> Iterator[tuple[str, list[Note]]]:
    """Yield the sections after the tables, each as a heading and a list of notes.

    ``errors``: whether to include the errors of failed runs.
    """
    if report.studies:
        yield "Studies", [Note(describe_study(study)) for study in report.studies]
    if (note := next_note(report)) is not None:
        yield NEXT, [note]
    if report.unfinished:
        runs = sorted(report.unfinished, key=lambda run: UNFINISHED.index(run.status))
        texts = [f"{run.run_id}: {run.status}, {run.result.reached}" for run in runs]
        if errors:
            texts = [
                f"{text}: {run.result.error}" if run.result.error else text
                for text, run in zip(texts, runs, strict=True)
            ]
        yield f"Not finished ({count_states(runs, states=UNFINISHED)})", [*map(Note, texts)]
    if report.problems:
        yield f"Could not be used ({len(report.problems)})", [*map(Note, report.problems)]


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
    causes: dict[tuple[bool, str], list[tuple[Row, Column, str]]] = defaultdict(list)
    for row, column in product(table.rows, table.columns):
        cell = row.cell(column.key)
        if column.kind != "average":  # an average only repeats the messages of its tasks
            for message, text in zip(cell.messages, cell_messages(cell), strict=True):
                causes[not message.warns, message.cause or text].append((row, column, text))
    notes = []
    for (quiet, cause), found in sorted(causes.items(), key=lambda item: item[0][0]):
        rows, columns, texts = (dict.fromkeys(values) for values in zip(*found, strict=True))
        named = join_names(first_few([row.name for row in rows], MAX_NAMES))
        tasks = join_names(first_few([*dict.fromkeys(task_label(column.task) for column in columns)], MAX_NAMES))
        text = next(iter(texts)) if len(texts) == 1 else f"{cause}."
        notes.append(Note(f"{'' if quiet else f'{SIGN} '}{named} on {tasks}: {text}", warns=not quiet))
    return notes


def describe_limits(table: Table, tasks: Sequence[str]) -> list[str]:
    """Return notes on limits of a table: few seeds, unequal numbers of seeds, cells without a test or interval."""
    cells = [row.cells[task] for task in tasks for row in table.rows if row.cells[task].value is not None]
    notes = _search_note(table, tasks)
    sizes = {len(cell.seeds) for cell in cells}
    if len(sizes) > 1 and min(sizes) == 1:
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
    """Return a note if finished runs of a table differ in their code or in `ENVIRONMENT`."""
    values: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        known = run.result.provenance
        recorded = {"scoring_precision": "32-true", **(known.get("versions") or {}), **known}
        recorded = {name: recorded.get(name) for name in ENVIRONMENT}
        recorded[f"the code of {method_label(run.method)}"] = known.get("method_code")
        for name, value in recorded.items() if run.done else ():
            if value is not None:
                values[name].add(shorten(str(value), MAX_NAME))
    words = [
        f"{name} ({' or '.join(first_few(sorted(found), MAX_NAMES))})"
        for name, found in values.items()
        if len(found) > 1
    ]
    return [f"The runs differ in {join_names(words)}."] if words else []


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


def describe_study(study: Study) -> str:
    """Describe a search: its trials, and its best trial."""
    counts = Counter(trial.state for trial in study.trials)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES.values() if counts[state])
    text = f"{study.name}: {plural(len(study.trials), 'trial')} ({states})."
    if study.best is None:
        return text
    values = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in study.best.params.items()}
    best = f"Trial {study.best.number} has the best dev score, {study.best.value:.2f}"
    return f"{text} {best}, with {' '.join(f'{key}={value}' for key, value in values.items())}."
