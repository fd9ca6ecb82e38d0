"""`krona predict`: write the predictions of runs for rows of a file, of standard input or of the command line."""

import hashlib
import json
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from krona.adapters.commands.answer_file import Answer, flatten, format_answers, open_answers, require_answer_file
from krona.adapters.find import TrainedRun, find
from krona.adapters.load import Prediction, Trained, load, quote_columns
from krona.messages import KronaError, amount
from krona.screen import rate, say, table, terminal_width
from krona.tasks import InputRows, Task
from krona.tasks.input_rows import STDIN

PART = 1024  # the number of rows in a part; a part is read, predicted and written before the next


class StoppedError(KronaError):
    """An error for an interruption by Ctrl-C. The output file contains all predictions up to then."""


def predict(
    runs: Sequence[str],
    *,
    source: str | None,
    texts: Sequence[str],
    output: Path | None,
    backbone: str | None,
    batch_size: int,
    overwrite: bool,
    console: Console,
) -> None:
    """Write the predictions of one or several runs, in the order of the rows.

    Args:
        runs: ids of runs, beginnings of ids, folders or adapter files.
        source: the file that contains the rows, or ``-`` for standard input.
        texts: the texts of the rows, one for each column of the task. They are used instead of ``source``.
        output: the file to write, or None for standard output.
        backbone: the folder of the backbone, if the backbone was moved after the runs.

    Raises:
        KronaError: a run cannot predict, the runs have different columns, a row is invalid, or the output exists.
    """
    if (source is None) == (not texts):
        raise KronaError(
            'The rows must come from one source. Use either --input FILE (- means standard input) or --text "…".'
        )
    if output is not None:
        require_answer_file(output, overwrite=overwrite)
    found = [find(run) for run in runs]
    task = _common_task(found)
    rows: Iterable[tuple[str, Any]]
    rows = _rows_from_texts(texts, task) if source is None else InputRows(source, task)
    trained = [load(one, backbone=backbone) for one in found]
    if source is None and output is None:
        answers = list(_answer(trained, list(rows), batch_size))
        if console.is_terminal:
            _print_table(answers, console)
        else:
            print(format_answers(answers, ".tsv", header=True), end="")
        return
    key = _resume_key(found, source, texts, batch_size)
    with open_answers(output, key=key, overwrite=overwrite) as out, _bar(rows) as advance, _interrupts() as seen:
        if out.done:
            say(Console(stderr=True), f"{output} resumes after {amount(out.done, 'row')}.")
        before, began = out.done, time.perf_counter()
        try:
            for part in batches(islice(iter(rows), out.done, None), PART):
                out.add(list(_answer(trained, part, batch_size)))
                advance(rate((out.done - before) / (time.perf_counter() - began)))
                if seen:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise StoppedError(_format_stop(output, source, out.done)) from None
        if not out.done:
            raise KronaError(f"{source} has no rows.")
    if output is not None:
        say(Console(stderr=True), f"{output}: {amount(out.done, 'row')}")


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Yield a list that grows with each Ctrl-C. The list is needed, because a library may catch KeyboardInterrupt."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _format_stop(output: Path | None, source: str | None, done: int) -> str:
    if output is None:
        return "Interrupted. Only a command with --output FILE can be resumed."
    resume = "Run the same command again to resume."
    if source == STDIN:
        resume = "Standard input cannot be read again. Add --overwrite to start from the first row."
    return f"Interrupted. {output}.partial contains {amount(done, 'row')}. {resume}"


def _common_task(found: Sequence[TrainedRun]) -> Task:
    first, *others = found
    task = first.origin.task_settings
    for one in others:
        columns = one.origin.task_settings.columns
        if columns != task.columns:
            raise KronaError(
                f"{first.origin.run_id} reads {quote_columns(task.columns)}, but {one.origin.run_id} reads "
                f"{quote_columns(columns)}. Use a separate command for each run."
            )
    return task


def _rows_from_texts(texts: Sequence[str], task: Task) -> list[tuple[str, Any]]:
    width = len(task.columns)
    if len(texts) % width:
        columns = quote_columns(task.columns)
        raise KronaError(f"--text has {amount(len(texts), 'text')}, but each row of task {task.name} needs {columns}.")
    return [(f"text {number}", row) for number, row in enumerate(batches(texts, width), 1)]


def _answer(trained: Sequence[Trained], rows: Sequence[tuple[str, Any]], batch_size: int) -> Iterator[Answer]:
    columns = trained[0].task.columns
    places, values = [place for place, _ in rows], [row for _, row in rows]
    splits = [one.make_split(values, places=places) for one in trained]
    predictions = [one.predict_texts(split, batch_size=batch_size) for one, split in zip(trained, splits, strict=True)]
    for number, texts in enumerate(splits[0].texts):
        answer: Answer = dict(zip(columns, texts, strict=True))
        by_run = {one.origin.run_id: _columns(own[number]) for one, own in zip(trained, predictions, strict=True)}
        yield answer | (by_run if len(trained) > 1 else _columns(predictions[0][number]))


def _columns(prediction: Prediction) -> Answer:
    if not prediction.probabilities:
        return {"prediction": prediction.answer}
    return {"prediction": prediction.answer, "word": prediction.word, "probabilities": dict(prediction.probabilities)}


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield the items in lists of at most ``size`` items."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _resume_key(found: Sequence[TrainedRun], source: str | None, texts: Sequence[str], batch_size: int) -> str:
    if source == STDIN:
        return uuid.uuid4().hex  # the rows of standard input may differ each time
    files = [one.adapter for one in found] + ([Path(source)] if source is not None else [])
    stamps = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file]
    known = [[one.origin.run_id for one in found], stamps, source, list(texts), batch_size]
    return hashlib.blake2b(json.dumps(known).encode(), digest_size=16).hexdigest()


@contextmanager
def _bar(rows: Iterable[Any]) -> Iterator[Callable[[str], None]]:
    """Yield a function that must be called with the speed after each part.

    On a terminal, the function updates a progress bar. The bar shows how many bytes of the input have been read.
    Otherwise the function does nothing.
    """
    console = Console(stderr=True)
    if not console.is_terminal or not isinstance(rows, InputRows):
        yield lambda speed: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=rows.size)
        yield lambda speed: progress.update(bar, completed=rows.bytes_read, description=speed)


def _print_table(answers: Sequence[Answer], console: Console) -> None:
    cells = [flatten(answer) for answer in answers]
    names = list(cells[0])
    say(console, table(names, [list(row.values()) for row in cells], width=terminal_width(console), left=names))
