"""Print the scores of each class, the confusion matrix, mistakes and slices of a finished run (`krona show`)."""

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from rich.console import Console

from krona.formatting import say, table, terminal_width
from krona.messages import KronaError, plural, shorten
from krona.metrics.class_scores import ClassScores, class_scores, confused_pairs, confusion, residuals
from krona.metrics.scores.metric import Answers
from krona.runs.folder import RunFolder
from krona.runs.predictions import (
    SPLITS,
    Mistake,
    find_mistakes,
    label_words,
    read_outcomes,
    read_split,
    slice_columns,
    slice_scores,
)
from krona.runs.result import Result

MAX_TEXT = 400  # characters of a mistake's text
MAX_MATRIX = 12  # maximum number of classes of a confusion matrix; for more classes, pairs are listed
MAX_PAIRS = 20
MAX_CLASSES = 40  # maximum number of classes in a table
MAX_LABEL = 40  # longer labels are shortened
SCORES = ("precision", "recall", "F1", "rows")


def print_details(run: RunFolder, console: Console, *, mistakes: int = 0, slices: Sequence[str] | None = None) -> None:
    """Print the details of a finished run. Print nothing for other runs.

    Args:
        mistakes: the number of wrong predictions to print.
        slices: columns of the data file. None means those of `slice_columns`.

    Raises:
        KronaError: the predictions are damaged, or do not have a column of ``slices``.
    """
    known = run.state()
    if known.state != "done" or known.result is None or not run.predictions.is_file():
        return
    result, width = known.result, terminal_width(console)
    task = result.config["task"]
    words = [*label_words(task).values()]
    try:
        answers = {split: outcome.answers for split, outcome in read_outcomes(result, run.predictions).items()}
    except KronaError:  # the summary of the run has shown the message
        if mistakes or slices:
            raise
        return
    for split in (split for split in SPLITS if split in answers):
        for title, frame in answer_tables(answers[split], words):
            say(console, f"\n{split}: {title}")
            say(console, table([*frame], frame.to_numpy().tolist(), width=width, left=[*frame][:1]))
    last = next((split for split in reversed(SPLITS) if split in answers), None)
    columns = slice_columns(task) if slices is None else slices
    if last is None or not (mistakes or columns):
        return
    stored = read_split(run, last)
    for column in columns:
        rows = [
            [name or "(empty)", f"{rows:,}", f"{score:.2f}", f"[{low:.1f}, {high:.1f}]"]
            for name, rows, score, low, high in slice_scores(result, [stored], column)
        ]
        say(console, f"\n{last}: score by {column}, with its 95 % interval over rows")
        say(console, table([column, "rows", "score", "interval"], rows, width=width, left=[column]))
    if mistakes:
        for line in _mistake_lines(result, find_mistakes(result, stored), last, mistakes, bool(words)):
            say(console, line)


def _mistake_lines(result: Result, mistakes: Sequence[Mistake], split: str, most: int, is_class: bool) -> Iterator[str]:
    count = len(mistakes)
    what = plural(count, "wrong prediction") if is_class else f"{plural(count, 'prediction')} with an error"
    has_scores = is_class and any(mistake.size is not None for mistake in mistakes)
    order = "" if is_class and not has_scores else ", the worst first"
    yield f"\n{split}: {what}{f' (the first {most:,})' if count > most else ''}{order}"
    for mistake in mistakes[:most]:
        size = "" if mistake.size is None else f" (p {mistake.size:.3f})" if is_class else f" ({mistake.size:+.4g})"
        yield f"{mistake.place}: target {mistake.target}, prediction {mistake.prediction}{size}"
        yield f"    {textwrap.shorten(mistake.text, MAX_TEXT, placeholder=' …')}"
        columns = ", ".join(f"{name}: {value}" for name, value in mistake.columns.items() if value not in (None, ""))
        if columns:
            yield f"    {textwrap.shorten(columns, MAX_TEXT, placeholder=' …')}"


def answer_tables(answers: Answers, words: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield pairs (title, table of texts) on the predictions of a run.

    Args:
        answers: the answers on one split.
        words: the labels of the task by id. An empty list means a regression.
    """
    if not words:
        errors = residuals(answers)
        yield "prediction − target", pd.DataFrame([[f"{value:.4g}" for value in errors.values()]], columns=[*errors])
        return
    names = [shorten(word, MAX_LABEL) for word in words]
    yield _class_table(class_scores(answers), names)
    if not answers.is_multilabel:  # in a multi-label task, a target and a prediction are not a pair of labels
        yield _confusion_table(answers, names)


def _class_table(scores: ClassScores, names: Sequence[str]) -> tuple[str, pd.DataFrame]:
    lowest = sorted(np.argsort(scores.f1, kind="stable")[:MAX_CLASSES])
    columns = np.column_stack([scores.precision, scores.recall, scores.f1])
    lines = [
        [names[scores.ids[at]], *(f"{value:.2f}" for value in columns[at]), f"{scores.rows[at]:,}"] for at in lowest
    ]
    lines += [[name, *(f"{value:.2f}" for value in means), ""] for name, means in scores.averages().items()]
    some = f" ({MAX_CLASSES} classes with the lowest F1)" if len(scores.ids) > MAX_CLASSES else ""
    return f"scores of each class{some}", pd.DataFrame(lines, columns=["label", *SCORES])


def _confusion_table(answers: Answers, names: Sequence[str]) -> tuple[str, pd.DataFrame]:
    counts = confusion(answers)
    columns = [*names, "no label"]
    if len(names) > MAX_MATRIX:
        pairs = confused_pairs(counts, MAX_PAIRS)
        lines = [[names[target], columns[given], f"{count:,.0f}"] for target, given, count in pairs]
        return "most frequent mistakes", pd.DataFrame(lines, columns=["target", "prediction", "rows"])
    used = len(columns) if counts[:, -1].any() else len(names)
    lines = [[name, *(f"{count:,.0f}" for count in row[:used])] for name, row in zip(names, counts, strict=True)]
    title = "confusion matrix (a row for each target, a column for each prediction)"
    return title, pd.DataFrame(lines, columns=["", *columns[:used]])
