"""Print the scores of each class, the confusion matrix, mistakes and slices of a finished run (`krona show`)."""

import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console

from krona.formatting import say, table, terminal_width
from krona.messages import KronaError, plural
from krona.report.class_tables import answer_tables
from krona.runs.folder import RunFolder
from krona.runs.predictions import SPLITS, label_words, read_outcomes
from krona.runs.result import Result
from krona.runs.rows import Mistake, find_mistakes, read_split, slice_columns, slice_scores

MAX_TEXT = 400  # characters of a mistake's text


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
        for title, frame in answer_tables([answers[split]], words):
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
