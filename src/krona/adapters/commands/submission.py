"""Write predictions on GLUE's unlabelled test sets as a submission to gluebenchmark.com.

A submission is a zip file with a TSV file for each task.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from krona.adapters.find import TrainedRun
from krona.adapters.load import Trained, load
from krona.adapters.origin import compose
from krona.config import check
from krona.messages import KronaError, amount, join_names
from krona.metrics.scores.metric import NUMBER
from krona.runs.predictions import label_words
from krona.safe_files import write_whole
from krona.tasks import InputRows

# for each task: the test files in the download's folder, their names in a submission, and their numbers of rows
FILES: Mapping[str, Sequence[tuple[str, str, int]]] = {
    "cola": [("CoLA/test.tsv", "CoLA", 1063)],
    "sst2": [("SST-2/test.tsv", "SST-2", 1821)],
    "mrpc": [("MRPC/test.tsv", "MRPC", 1725)],
    "stsb": [("STS-B/test.tsv", "STS-B", 1379)],
    "qqp": [("QQP/test.tsv", "QQP", 390965)],
    "mnli": [("MNLI/test_matched.tsv", "MNLI-m", 9796), ("MNLI/test_mismatched.tsv", "MNLI-mm", 9847)],
    "qnli": [("QNLI/test.tsv", "QNLI", 5463)],
    "rte": [("RTE/test.tsv", "RTE", 3000)],
}
OTHERS = ("WNLI", "AX")  # files of a complete submission for tasks that krona does not have
WORDS = ("mnli", "qnli", "rte")  # the labels of these tasks are written as words, all others as numbers
LOWEST, HIGHEST = 0.0, 5.0  # the lowest and the highest rating of STS-B


@dataclass(frozen=True)
class Sheet:
    """A TSV file of a submission."""

    name: str  # without the ending
    predictions: Sequence[str]
    replaced: tuple[int, str]  # the number of predictions that are no label (or no number), and how they were replaced
    official: int  # the number of rows in GLUE's own test file

    def as_tsv(self) -> str:
        lines = [f"{number}\t{prediction}\n" for number, prediction in enumerate(self.predictions)]
        return "".join(["index\tprediction\n", *lines])


def submit(
    runs: Sequence[TrainedRun], folder: Path, out: Path, *, backbone: str | None, batch_size: int
) -> list[Sheet]:
    """Predict for the rows of GLUE's test sets in ``folder`` with one run for each task, and write the zip file."""
    if out.suffix != ".zip":
        raise KronaError(f"--submission {out} is not the name of a .zip file.")
    by_task: dict[str, TrainedRun] = {}
    for run in runs:
        name = _glue_name(run)
        if name in by_task:
            ids = f"{by_task[name].origin.run_id} and {run.origin.run_id}"
            raise KronaError(f"{ids} were both trained on GLUE's {name}. Use only one run for each task.")
        by_task[name] = run
        for file, _, _ in FILES[name]:
            if not (folder / file).is_file():
                raise KronaError(f"{folder / file} was not found. Set --data to the folder of the GLUE download.")
    sheets: list[Sheet] = []
    for name, run in by_task.items():
        trained, task = load(run, backbone=backbone), check.task(compose([f"task={name}"])["task"], own=True)
        for file, sheet, official in FILES[name]:
            rows = InputRows(str(folder / file), task)
            predictions, replaced = _answer(trained, rows, words=name in WORDS, batch_size=batch_size)
            sheets.append(Sheet(sheet, predictions, replaced, official))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sheets:
            archive.writestr(zipfile.ZipInfo(f"{one.name}.tsv", (1980, 1, 1, 0, 0, 0)), one.as_tsv())
    write_whole(out, lambda part: part.write_bytes(packed.getvalue()))
    return sheets


def format_sheets(sheets: Sequence[Sheet], out: Path) -> list[str]:
    """Return lines for the user about the written files, and about the files that a complete submission also needs."""
    lines = []
    for sheet in sheets:
        count, (replaced, replacement) = len(sheet.predictions), sheet.replaced
        odd = "" if count == sheet.official else f", but GLUE's test set has {sheet.official:,}"
        changed = f"; {amount(replaced, 'prediction')} had to be {replacement}" if replaced else ""
        lines.append(f"{sheet.name}.tsv: {amount(count, 'row')}{odd}{changed}")
    names = [name for files in FILES.values() for _, name, _ in files] + list(OTHERS)
    written = {sheet.name for sheet in sheets}
    if missing := [f"{name}.tsv" for name in names if name not in written]:
        lines.append(f"A complete submission also contains {join_names(missing)}.")
    return [*lines, str(out)]


def _glue_name(run: TrainedRun) -> str:
    task = run.origin.task_settings
    name = task.sample or task.name
    if task.kind == "own" or name not in FILES:
        raise KronaError(
            f"The task {task.name} of {run.origin.run_id} is not a task of GLUE. GLUE has {', '.join(FILES)}."
        )
    return name


def _answer(trained: Trained, rows: InputRows, *, words: bool, batch_size: int) -> tuple[list[str], tuple[int, str]]:
    """Return the predictions for a test file, and the field ``replaced`` of its `Sheet`."""
    located = list(rows)
    if not located:
        raise KronaError(f"{rows.name} contains no rows.")
    places, values = zip(*located, strict=True)
    answers = trained.predict_texts(trained.make_split(values, places=places), batch_size=batch_size)
    if not trained.task.labels:
        numbers = [float(one.answer) if NUMBER.fullmatch(one.answer) else None for one in answers]
        texts = [f"{min(HIGHEST, max(LOWEST, number or LOWEST)):.3f}" for number in numbers]
        return texts, (numbers.count(None), f"replaced by {LOWEST:.3f}, because the text was not a number")
    ids = {word: target for target, word in label_words(trained.origin.task).items()}
    likeliest = [one.word or max(one.probabilities, key=lambda word: one.probabilities[word]) for one in answers]
    replaced = (
        sum(one.word is None for one in answers),
        "replaced by the most likely label, because the text was not a label",
    )
    return (likeliest if words else [ids[word] for word in likeliest]), replaced
