"""`krona predict`: write predictions for rows from a file, standard input or the command line."""

import csv
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from rich.console import Console

from krona.adapters.find import TrainedRun, find
from krona.adapters.predictor import Prediction, Predictor, load_predictor, quote_columns
from krona.formatting import say, table, terminal_width
from krona.messages import KronaError, amount, did_you_mean, first_few, visible
from krona.runs.folder import require_new
from krona.runs.predictions import invalid_predictions, label_words
from krona.safe_files import json_lines, write_whole
from krona.tasks import InputRows, Task
from krona.tasks.values import BadRowError, plain_value

PART = 1024  # the number of rows that are read, predicted and written at a time
ADDED = ("prediction", "word", "probabilities")  # the columns that are added after the input's columns
MAX_PLACES = 5  # maximum number of rows without a text in a note
ENDINGS = (".tsv", ".csv", ".jsonl")
# maps column names to values; the values are dicts for probabilities, and for each of several runs
Answer = dict[str, Any]


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
        texts: the texts of the rows, one for each column of the task. If given, they replace ``source``.
        output: the file to write, or None for standard output.
    """
    if (source is None) == (not texts):
        raise KronaError('Give the rows with either --input FILE (- means standard input) or --text "…".')
    if output is not None:
        if output.suffix not in ENDINGS:
            raise KronaError(f"--out {output} has an unknown ending: {did_you_mean(output.suffix, ENDINGS)}")
        require_new(output, overwrite=overwrite, source=source)
    found = [find(run) for run in runs]
    task = _common_task(found)
    recorded = [one.result.config["data"].get("quoting") for one in found if one.result is not None]
    quoting = next(filter(None, recorded), None)  # a TSV file is read with the quoting of the training data
    rows: Iterable[tuple[str, Any]]
    rows = _rows_from_texts(texts, task) if source is None else InputRows(source, task, quoting=quoting)
    trained = [load_predictor(one, backbone=backbone) for one in found]
    notes, empty = Counter[str](), list[str]()  # ``empty``: the locations of rows without a text
    parts = (list(_answer(part, trained, batch_size, notes, empty)) for part in batches(rows, PART))
    errors = Console(stderr=True)
    if output is not None:
        done = 0

        def fill(path: Path) -> None:
            nonlocal done
            with path.open("wb") as out:
                done = _write(out, output.suffix, parts)

        write_whole(output, fill)
        say(errors, f"{output}: {amount(done, 'row')}")
    elif source is None and console.is_terminal:
        frame = to_frame([answer for part in parts for answer in part])
        say(console, table(list(frame), frame.values.tolist(), width=terminal_width(console), left=list(frame)))
    else:
        _print(parts)
    for note, count in notes.items():
        if count:
            say(errors, f"note: {note} ({amount(count, 'row')}).")
    if empty:
        what = f"{amount(len(empty), 'row')} without a text, which have an empty prediction"
        say(errors, f"note: {what}: {', '.join(first_few(empty, MAX_PLACES))}.")


def _answer(
    rows: Sequence[tuple[str, Any]],
    trained: Sequence[Predictor],
    batch_size: int,
    notes: Counter[str],
    empty: list[str],
) -> Iterator[Answer]:
    """Yield the texts and the predictions of each row, and add the number of rows with each note to ``notes``.

    Each row is a tuple of its location in the input and its texts. A row of a file without a text has an empty
    prediction, and its location is added to ``empty``.
    """
    has_text = [not (isinstance(row, dict) and _has_no_text(row, trained[0].task)) for _, row in rows]
    empty += [place for (place, _), known in zip(rows, has_text, strict=True) if not known]
    given = [pair for pair, known in zip(rows, has_text, strict=True) if known]
    places, values = [place for place, _ in given], [row for _, row in given]
    splits = [one.make_split(values, places=places) for one in trained]
    predictions = {}
    for one, split in zip(trained, splits, strict=True):
        run_id, kind = one.origin.run_id, "labels" if one.task.labels else "numbers"
        own = one.predict_split(split, batch_size=batch_size)
        predictions[run_id] = iter(own), _no_prediction(one)
        if not own:
            continue
        invalid = invalid_predictions([prediction.answer for prediction in own], one.origin.task)
        notes[f"{run_id} predicted texts that are not {kind}"] += len(invalid)
        notes[f"{run_id} read only the first {one.origin.max_source_length} tokens"] += one.count_cut(split)
    texts = iter(splits[0].texts)
    for (_, row), known in zip(rows, has_text, strict=True):
        answer: Answer = {name: plain_value(value) for name, value in row.items()} if isinstance(row, dict) else {}
        if known:
            answer |= dict(zip(trained[0].task.columns, next(texts), strict=True))
        by_run = {run_id: _columns(next(own) if known else nothing) for run_id, (own, nothing) in predictions.items()}
        # with several runs, or if a column has one of these names, the run id is added to the column names
        nested = len(trained) > 1 or not answer.keys().isdisjoint(ADDED)
        yield answer | (by_run if nested else next(iter(by_run.values())))


def _has_no_text(row: Mapping[str, Any], task: Task) -> bool:
    try:
        task.texts(row)
    except BadRowError as error:
        return error.kind == "no text"
    return False


def _no_prediction(trained: Predictor) -> Prediction:
    words = label_words(trained.origin.task)
    return Prediction("", None, {words[target]: math.nan for target in trained.family.labels_with_scores})


def _write(out: BinaryIO, ending: str, parts: Iterable[Sequence[Answer]]) -> int:
    """Write the predictions part by part, which limits the memory use. Return the number of rows."""
    done, columns = 0, None
    for part in parts:
        if columns is None and ending != ".jsonl":
            columns = list(to_frame(part))
        text = format_answers(part, ending, header=done == 0, columns=columns)
        out.write((visible(text) if out.isatty() else text).encode("utf-8"))
        out.flush()
        done += len(part)
    if not done:
        raise KronaError("The input has no rows.")
    return done


def _print(parts: Iterable[Sequence[Answer]]) -> None:
    """Write the predictions to standard output as TSV."""
    try:
        _write(sys.stdout.buffer, ".tsv", parts)
    except BrokenPipeError:  # the reader (such as head) closed the pipe; the command line handles this error
        raise
    except OSError as error:
        # discard the rest, which Python would otherwise try to write at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise KronaError(f"Standard output could not be written: {error.strerror or error}.") from error


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


def _columns(prediction: Prediction) -> Answer:
    if not prediction.probabilities:
        return {"prediction": prediction.answer}
    known = {label: None if math.isnan(share) else share for label, share in prediction.probabilities.items()}
    return {"prediction": prediction.answer, "word": prediction.word, "probabilities": known}


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield the items in lists of at most ``size`` items."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def format_answers(
    answers: Sequence[Answer], ending: str, *, header: bool, columns: Sequence[str] | None = None
) -> str:
    """Return predictions as lines of a file. With ``header``, the first line contains the names of the columns.

    ``columns`` selects the columns of a .tsv or .csv file. None means all.
    """
    if ending == ".jsonl":
        return json_lines(answers)
    frame, options = to_frame(answers), {"header": header, "index": False, "lineterminator": "\n"}
    if columns is not None:
        frame = frame.reindex(columns=[*columns], fill_value="")
    if ending == ".tsv":
        frame = frame.map(lambda cell: " ".join(str(cell).split()))
        options |= {"sep": "\t", "quoting": csv.QUOTE_NONE}
    text: str = frame.to_csv(**options)
    return text


def to_frame(answers: Sequence[Answer]) -> pd.DataFrame:
    """Return predictions as a table of texts, with one column for each probability, such as ``p(entailment)``.

    With several runs, the names of the columns begin with the run id.
    """
    texts = [{name: _as_cell(value) for name, value in answer.items()} for answer in answers]
    frame = pd.json_normalize(texts, sep=": ").astype(object).fillna("")
    frame.columns = frame.columns.str.replace(r"probabilities: (.*)", r"p(\1)", regex=True)
    return frame.map(lambda value: f"{value:.6f}" if isinstance(value, float) else value)


def _as_cell(value: object) -> object:
    """Return a value of an answer as text. A dict of predictions is kept."""
    return value if isinstance(value, dict) else "" if value is None else str(value)
