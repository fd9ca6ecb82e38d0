"""Predictions on GLUE's unlabelled test sets in the form that gluebenchmark.com takes: one TSV a task, in a zip."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from krona.adapters.find import TrainedRun
from krona.adapters.load import Trained, load
from krona.config.compose import compose_job, hydra_session
from krona.files import write_whole
from krona.messages import KronaError, amount, listed
from krona.metrics.answers import NUMBER
from krona.runs.folder import require_new
from krona.runs.predictions import label_words
from krona.tasks import InputRows, Task

# GLUE's task → its test files below the download's folder, the name in the submission, the rows of the official file
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
OTHERS = {"WNLI": 146, "AX": 1104}  # in a whole submission too; krona has no such tasks
WORDS = ("mnli", "qnli", "rte")  # their labels are written as words, the others' as numbers
LOWEST, HIGHEST = 0.0, 5.0  # of STS-B's ratings


@dataclass(frozen=True)
class Sheet:
    """One TSV: a line a test row. replaced: answers that were no label (or no number) and what stands for them."""

    name: str
    predictions: Sequence[str]
    replaced: tuple[int, str]
    official: int


def submission(
    found: Sequence[TrainedRun], folder: Path, out: Path, *, overwrite: bool, backbone: str | None, batch_size: int
) -> list[Sheet]:
    """Answer GLUE's test sets and write the zip.

    Raises:
        KronaError: a task that GLUE has not, two runs of one task, a missing file, a file that exists.
    """
    if out.suffix != ".zip":
        raise KronaError(f"--submission {out}: a .zip file")
    require_new(out, overwrite=overwrite)
    by_task: dict[str, TrainedRun] = {}
    for one in found:
        name = _glue_name(one)
        if name in by_task:
            raise KronaError(
                f"{by_task[name].origin.run_id} and {one.origin.run_id} are both of GLUE's {name}: one run a task"
            )
        by_task[name] = one
    inputs = {name: [(folder / file, sheet, rows) for file, sheet, rows in FILES[name]] for name in by_task}
    for files in inputs.values():
        for path, _, _ in files:
            if not path.is_file():
                raise KronaError(f"{path}: no such file; --data is the folder of the GLUE download")
    with hydra_session():
        tasks = {name: Task.from_config(compose_job([f"task={name}"]).config["task"]) for name in by_task}
    sheets: list[Sheet] = []
    for name, one in by_task.items():
        trained = load(one, backbone=backbone)
        sheets += [
            _sheet(trained, InputRows(str(path), tasks[name]), sheet, rows, task=name, batch_size=batch_size)
            for path, sheet, rows in inputs[name]
        ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for one_sheet in sheets:
            archive.writestr(zipfile.ZipInfo(f"{one_sheet.name}.tsv", (1980, 1, 1, 0, 0, 0)), as_tsv(one_sheet))
    write_whole(out, lambda part: part.write_bytes(packed.getvalue()))
    return sheets


def as_tsv(sheet: Sheet) -> str:
    lines = [f"{number}\t{prediction}\n" for number, prediction in enumerate(sheet.predictions)]
    return "".join(["index\tprediction\n", *lines])


def lines(sheets: Sequence[Sheet], out: Path) -> list[str]:
    """What was written, and what a whole submission lacks."""
    said = []
    for sheet in sheets:
        count = len(sheet.predictions)
        odd = "" if count == sheet.official else f"; GLUE's test set has {sheet.official:,}"
        replaced = f"; {amount(sheet.replaced[0], 'answer')} {sheet.replaced[1]} instead" if sheet.replaced[0] else ""
        said.append(f"{sheet.name}.tsv: {amount(count, 'row')}{odd}{replaced}")
    names = [name for files in FILES.values() for _, name, _ in files] + list(OTHERS)
    missing = [name for name in names if name not in {sheet.name for sheet in sheets}]
    if missing:
        said.append(f"a whole submission has also {listed([f'{name}.tsv' for name in missing])}")
    return [*said, str(out)]


def _glue_name(found: TrainedRun) -> str:
    task = found.origin.task_settings
    name = task.sample or task.name
    if task.kind == "own" or name not in FILES:
        raise KronaError(f"{found.origin.run_id}: task {task.name} is none of GLUE's: {', '.join(FILES)}")
    return name


def _sheet(trained: Trained, rows: InputRows, name: str, official: int, *, task: str, batch_size: int) -> Sheet:
    located = list(rows)
    if not located:
        raise KronaError(f"{rows.name} has no rows")
    places, values = zip(*located, strict=True)
    answers = trained.predict_texts(trained.split_of(values, places=places), batch_size=batch_size)
    if not trained.task.labels:
        ratings = [_rating(one.answer) for one in answers]
        none = (ratings.count(None), f"no number: {LOWEST:.3f}")
        return Sheet(name, [f"{LOWEST if rating is None else rating:.3f}" for rating in ratings], none, official)
    ids = {word: target for target, word in label_words(trained.origin.task).items()}
    replaced = (sum(one.word is None for one in answers), "no label: the likeliest label")
    words = [one.word or max(one.probabilities, key=lambda word: one.probabilities[word]) for one in answers]
    return Sheet(name, words if task in WORDS else [ids[word] for word in words], replaced, official)


def _rating(answer: str) -> float | None:
    """None where the answer is no number, as `krona.metrics` reads it."""
    return min(HIGHEST, max(LOWEST, float(answer))) if NUMBER.fullmatch(answer) else None
