"""`krona predict`: the answers of one or several runs to the rows of a file, of standard input, or as typed."""

import hashlib
import json
import signal
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from krona.adapters.commands.answers import Answer, answers_to, as_cells, as_text, check_output
from krona.adapters.find import TrainedRun, find
from krona.adapters.load import Prediction, Trained, columns_of, load
from krona.messages import KronaError, amount
from krona.screen import rate, say, table, width_of
from krona.tasks import InputRows, Task
from krona.tasks.sources import STDIN

PART = 1024  # rows that are read, answered and written together


class StoppedError(KronaError):
    """Ctrl-C: what is done is in the file."""


def predict(
    runs: Sequence[str],
    *,
    source: str | None,
    texts: Sequence[str],
    output: Path | None,
    backbone: str | None,
    batch_size: int,
    overwrite: bool,
    outputs: Path,
    console: Console,
) -> None:
    """Write the answers, in the order of the rows.

    Raises:
        KronaError: a run that can't answer, runs that read other columns, a wrong row, a file that exists.
    """
    if (source is None) == (not texts):
        raise KronaError('name the rows: --input FILE (- for standard input), or --text "…"')
    if output is not None:
        check_output(output, overwrite=overwrite)
    found = [find(run, outputs=outputs) for run in runs]
    task = _common_task(found)
    rows: Iterable[tuple[str, Any]]
    rows = _typed(texts, task) if source is None else InputRows(source, task)
    trained = [load(one, backbone=backbone) for one in found]
    if source is None and output is None:
        answers = list(_answers(trained, list(rows), batch_size))
        if console.is_terminal:
            _show(answers, console)
        else:
            print(as_text(answers, ".tsv", header=True), end="")
        return
    key = _key(found, source, texts, batch_size)
    with answers_to(output, key=key, overwrite=overwrite) as out, _bar(rows) as advance, _interrupts() as seen:
        if out.done:
            say(Console(stderr=True), f"{output}: resumes after {amount(out.done, 'row')}")
        before, began = out.done, time.perf_counter()
        try:
            for part in parts(islice(iter(rows), out.done, None), PART):
                out.add(list(_answers(trained, part, batch_size)))
                advance(rate((out.done - before) / (time.perf_counter() - began)))
                if seen:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise StoppedError(_stopped(output, source, out.done)) from None
        if not out.done:
            raise KronaError(f"{source} has no rows")
    if output is not None:
        say(Console(stderr=True), f"{output}: {amount(out.done, 'row')}")


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Each Ctrl-C that was typed: a library may catch the exception, and it must not be lost."""
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


def _stopped(output: Path | None, source: str | None, done: int) -> str:
    if output is None:
        return "interrupted: with --output FILE, the same command would resume"
    again = (
        "--overwrite begins anew: standard input can't be resumed" if source == STDIN else "the same command resumes it"
    )
    return f"interrupted: {output}.partial has {amount(done, 'row')}; {again}"


def _common_task(found: Sequence[TrainedRun]) -> Task:
    tasks = [one.origin.task_settings for one in found]
    for one, task in zip(found, tasks, strict=True):
        if task.columns != tasks[0].columns:
            raise KronaError(
                f"{found[0].origin.run_id} reads {columns_of(tasks[0])}, {one.origin.run_id} reads {columns_of(task)}: "
                "ask them one by one"
            )
    return tasks[0]


def _typed(texts: Sequence[str], task: Task) -> list[tuple[str, Any]]:
    width = len(task.columns)
    if len(texts) % width:
        raise KronaError(f"--text: {len(texts)} texts; task {task.name} reads {width} to a row: {columns_of(task)}")
    return [(f"text {i + 1}", row) for i, row in enumerate(parts(texts, width))]


def _answers(trained: Sequence[Trained], rows: Sequence[tuple[str, Any]], batch_size: int) -> Iterator[Answer]:
    """The answers to some rows, those of several runs side by side under the runs' ids."""
    columns = trained[0].task.columns
    places, values = [place for place, _ in rows], [row for _, row in rows]
    splits = [one.split_of(values, places=places) for one in trained]
    given = [one.predict_texts(split, batch_size=batch_size) for one, split in zip(trained, splits, strict=True)]
    for place, texts in enumerate(splits[0].texts):
        answer: Answer = dict(zip(columns, texts, strict=True))
        for one, predictions in zip(trained, given, strict=True):
            own = of_prediction(predictions[place])
            answer |= own if len(trained) == 1 else {one.origin.run_id: own}
        yield answer


def of_prediction(prediction: Prediction) -> Answer:
    """The columns of an answer."""
    if not prediction.probabilities:
        return {"prediction": prediction.answer}
    return {"prediction": prediction.answer, "word": prediction.word, "probabilities": dict(prediction.probabilities)}


def parts(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of at most ``size`` items, in order."""
    left = iter(items)
    while part := list(islice(left, size)):
        yield part


def _key(found: Sequence[TrainedRun], source: str | None, texts: Sequence[str], batch_size: int) -> str:
    """Identifies the runs' adapters, the rows and the options; other rows may come from standard input each time."""
    if source == STDIN:
        return uuid.uuid4().hex
    files = [one.adapter for one in found] + ([Path(source)] if source is not None else [])
    stamps = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file]
    known = [[one.origin.run_id for one in found], stamps, source, list(texts), batch_size]
    return hashlib.blake2b(json.dumps(known).encode(), digest_size=16).hexdigest()


@contextmanager
def _bar(rows: Iterable[Any]) -> Iterator[Any]:
    """Something to call with the speed after each part; on a terminal it moves a bar by the bytes of the input."""
    console = Console(stderr=True)
    if not console.is_terminal or not isinstance(rows, InputRows):
        yield lambda speed: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=rows.size)
        yield lambda speed: progress.update(bar, completed=rows.bytes_read, description=speed)


def _show(answers: Sequence[Answer], console: Console) -> None:
    """A table on the terminal, for texts that were typed."""
    flat = [as_cells(answer) for answer in answers]
    names = list(flat[0])
    say(console, table(names, [list(row.values()) for row in flat], width=width_of(console), left=names))
