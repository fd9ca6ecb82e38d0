"""`krona predict`: write predictions for rows from a file, standard input or the command line."""

import csv
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from rich.console import Console

from krona.adapters.find import find
from krona.adapters.predictor import Prediction, Predictor, load_predictor, quote_columns
from krona.formatting import say, table, terminal_width
from krona.messages import KronaError, did_you_mean, escape_control_characters, first_few, plural
from krona.runs.folder import require_new
from krona.runs.predictions import invalid_predictions, label_words
from krona.safe_files import json_lines, write_whole
from krona.tasks import InputRows, Task
from krona.tasks.values import BadRowError, plain_value

CHUNK = 1024  # the number of rows that are read, predicted and written at a time
ADDED = ("prediction", "probabilities")  # the columns that are added after the input's columns
MAX_LOCATIONS = 5  # maximum number of rows without a text in a note
SUFFIXES = (".tsv", ".csv", ".jsonl")
# maps column names to values; probabilities are a dict
Answer = dict[str, Any]


def predict(
    run: str,
    *,
    source: str | None,
    texts: Sequence[str],
    output: Path | None,
    backbone: str | None,
    batch_size: int,
    overwrite: bool,
    console: Console,
) -> str | None:
    """Write the predictions of a run, in the order of the rows.

    Return the run's id if most predictions are invalid (texts that are not labels), otherwise None.

    Args:
        run: the id of a run, the beginning of its id, its folder or an adapter file.
        source: the file that contains the rows, or ``-`` for standard input.
        texts: the texts of the rows, one for each column of the task. If given, they replace ``source``.
        output: the file to write, or None for standard output.
    """
    if (source is None) == (not texts):
        raise KronaError('Give the rows with either --input FILE (- means standard input) or --text "…".')
    if output is not None:
        if output.suffix not in SUFFIXES:
            raise KronaError(f"--out {output} has an unknown ending: {did_you_mean(output.suffix, SUFFIXES)}")
        require_new(output, overwrite=overwrite, source=source)
    trained = find(run)
    name, task = trained.origin.run_id, trained.origin.task_settings
    rows: Iterable[tuple[str, Any]]
    if source is None:
        width = len(task.columns)
        if len(texts) % width:
            columns = quote_columns(task.columns)
            raise KronaError(
                f"--text has {plural(len(texts), 'text')}, but each row of task {task.name} needs {columns}."
            )
        rows = [(f"text {number}", row) for number, row in enumerate(batches(texts, width), 1)]
    else:  # a TSV file is read with the quoting of the training data
        quoting = None if trained.result is None else trained.result.config["data"].get("quoting")
        rows = InputRows(source, task, quoting=quoting)
    predictor = load_predictor(trained, backbone=backbone)
    totals = _Totals()  # complete when all chunks are written
    chunks = (_answer(chunk, predictor, batch_size, totals) for chunk in batches(rows, CHUNK))
    errors = Console(stderr=True)
    if output is not None:

        def write(part: Path) -> None:
            with part.open("wb") as out:
                _write(out, output.suffix, chunks)

        write_whole(output, write)
        say(errors, f"{output}: {plural(totals.rows + len(totals.empty), 'row')}")
    elif source is None and console.is_terminal:
        frame = to_frame([answer for chunk in chunks for answer in chunk])
        say(console, table(list(frame), frame.values.tolist(), width=terminal_width(console), left=list(frame)))
    else:
        _write(sys.stdout.buffer, ".tsv", chunks)
    if totals.invalid:
        kind = "labels" if task.labels else "numbers"
        say(errors, f"note: {name} predicted texts that are not {kind} ({plural(totals.invalid, 'row')}).")
    if totals.cut:
        length = trained.origin.max_source_length
        say(errors, f"note: {name} read only the first {length} tokens ({plural(totals.cut, 'row')}).")
    if totals.empty:
        where = ", ".join(first_few(totals.empty, MAX_LOCATIONS))
        say(errors, f"note: the prediction of {plural(len(totals.empty), 'row')} without a text is empty: {where}.")
    return name if 2 * totals.invalid > totals.rows else None


@dataclass
class _Totals:
    """Counts over all chunks."""

    rows: int = 0  # rows with a text
    invalid: int = 0  # predictions that are not labels or numbers
    cut: int = 0  # rows that are truncated
    empty: list[str] = field(default_factory=list)  # the locations of rows without a text


def _answer(rows: Sequence[tuple[str, Any]], predictor: Predictor, batch_size: int, totals: _Totals) -> list[Answer]:
    """Return the texts and the prediction of each row. A row of a file without a text has an empty prediction.

    Args:
        rows: tuples of the location of a row in the input and its texts.
        totals: the counts to which the rows are added.
    """
    origin, columns = predictor.origin, predictor.task.columns
    with_text = [not (isinstance(row, dict) and _has_no_text(row, predictor.task)) for _, row in rows]
    read = list(compress(rows, with_text))
    totals.empty += [location for (location, _), has_text in zip(rows, with_text, strict=True) if not has_text]
    split = predictor.make_split([row for _, row in read], locations=[location for location, _ in read])
    predictions = predictor.predict_split(split, batch_size=batch_size)
    totals.rows += len(read)
    totals.invalid += len(invalid_predictions([prediction.answer for prediction in predictions], origin.task))
    totals.cut += predictor.count_cut(split) if read else 0
    found = zip(split.texts, predictions, strict=True)
    names = label_words(origin.task)
    placeholder = Prediction("", None, {names[target]: math.nan for target in predictor.family.labels_with_scores})
    answers = []
    for (_, row), has_text in zip(rows, with_text, strict=True):
        answer: Answer = {name: plain_value(value) for name, value in row.items()} if isinstance(row, dict) else {}
        prediction = placeholder
        if has_text:
            texts, prediction = next(found)
            answer |= dict(zip(columns, texts, strict=True))
        predicted: Answer = {"prediction": prediction.answer if prediction.word is None else prediction.word}
        if probabilities := prediction.probabilities:
            predicted["probabilities"] = {k: None if math.isnan(value) else value for k, value in probabilities.items()}
        # if a column has one of these names, the run id is added to the column names
        answers.append(answer | (predicted if answer.keys().isdisjoint(ADDED) else {origin.run_id: predicted}))
    return answers


def _has_no_text(row: Mapping[str, Any], task: Task) -> bool:
    try:
        task.texts(row)
    except BadRowError as error:
        return error.kind == "no text"
    return False


def _write(out: BinaryIO, suffix: str, chunks: Iterator[Sequence[Answer]]) -> None:
    """Write the predictions chunk by chunk, which limits the memory use."""
    first = next(chunks, None)
    if first is None:
        raise KronaError("The input has no rows.")
    columns = list(to_frame(first))
    for number, chunk in enumerate(chain([first], chunks)):
        if suffix == ".jsonl":
            text = json_lines(chunk)
        else:
            frame, options = to_frame(chunk).reindex(columns=columns, fill_value=""), {}
            if suffix == ".tsv":
                frame = frame.map(lambda cell: " ".join(str(cell).split()))
                options = {"sep": "\t", "quoting": csv.QUOTE_NONE}
            text = frame.to_csv(header=number == 0, index=False, lineterminator="\n", **options)
        out.write((escape_control_characters(text) if out.isatty() else text).encode("utf-8"))
        out.flush()


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield the items in lists of at most ``size`` items."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def to_frame(answers: Sequence[Answer]) -> pd.DataFrame:
    """Return predictions as a table of texts, with one column for each probability, such as ``p(entailment)``.

    If the input has columns with the same names, the names of the columns begin with the run id.
    """
    texts = [
        {name: value if isinstance(value, dict) else "" if value is None else str(value) for name, value in row.items()}
        for row in answers
    ]
    frame = pd.json_normalize(texts, sep=": ").astype(object).fillna("")
    frame.columns = frame.columns.str.replace(r"probabilities: (.*)", r"p(\1)", regex=True)
    return frame.map(lambda value: f"{value:.6f}" if isinstance(value, float) else value)
