"""Write predictions for GLUE's unlabelled test sets as a zip file of TSV files for gluebenchmark.com."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from krona.adapters.find import TrainedRun
from krona.adapters.origin import compose
from krona.adapters.predictor import Prediction, load_predictor
from krona.config import check
from krona.messages import KronaError, join_names, plural
from krona.metrics.scores.metric import NUMBER
from krona.runs.predictions import label_words
from krona.safe_files import write_whole
from krona.tasks import InputRows, Task

# maps each task to its test files: the path in the GLUE download, the name in a submission, and the number of rows
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
OTHERS = ("WNLI", "AX")  # files of a complete submission that krona cannot write
WORDS = ("mnli", "qnli", "rte")  # the labels of these tasks are written as words, all others as numbers
LOWEST, HIGHEST = 0.0, 5.0  # the lowest and the highest rating of STS-B


def submit(runs: Sequence[TrainedRun], folder: Path, out: Path, *, backbone: str | None, batch_size: int) -> list[str]:
    """Predict GLUE's test sets in ``folder`` with one run per task, write the zip file, and return messages.

    Invalid predictions are replaced by the most likely label or, for a regression, by 0.
    """
    if out.suffix != ".zip":
        raise KronaError(f"--submission {out} is not the name of a .zip file.")
    by_task: dict[str, TrainedRun] = {}
    for run in runs:
        task = run.origin.task_settings
        name = task.sample or task.name
        if task.data_kind == "own" or name not in FILES:
            raise KronaError(f"The task {task.name} of {run.origin.run_id} is not one of GLUE's: {', '.join(FILES)}.")
        if name in by_task:
            ids = f"{by_task[name].origin.run_id} and {run.origin.run_id}"
            raise KronaError(f"{ids} were both trained on GLUE's {name}. Use only one run for each task.")
        by_task[name] = run
        for file, _, _ in FILES[name]:
            if not (folder / file).is_file():
                raise KronaError(f"{folder / file} was not found. Set --data to the folder of the GLUE download.")
    lines, texts = list[str](), dict[str, str]()
    for name, run in by_task.items():
        trained, task = load_predictor(run, backbone=backbone), check.task(compose([f"task={name}"])["task"], own=True)
        for file, stem, official in FILES[name]:
            rows = list(InputRows(str(folder / file), task))
            if not rows:
                raise KronaError(f"{folder / file} contains no rows.")
            split = trained.make_split([values for _, values in rows], locations=[location for location, _ in rows])
            predictions = trained.predict_split(split, batch_size=batch_size)
            values, replaced = _submitted_values(predictions, trained.task, words=name in WORDS)
            texts[f"{stem}.tsv"] = "index\tprediction\n" + "".join(f"{n}\t{v}\n" for n, v in enumerate(values))
            expected = "" if len(values) == official else f", but GLUE's test set has {official:,}"
            changed = f"; {plural(replaced, 'prediction')} had to be replaced" if replaced else ""
            lines.append(f"{stem}.tsv: {plural(len(values), 'row')}{expected}{changed}")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    write_whole(out, lambda part: part.write_bytes(packed.getvalue()))
    names = [f"{name}.tsv" for name in [stem for files in FILES.values() for _, stem, _ in files] + list(OTHERS)]
    if missing := [name for name in names if name not in texts]:
        lines.append(f"A complete submission also contains {join_names(missing)}.")
    return [*lines, str(out)]


def _submitted_values(predictions: Sequence[Prediction], task: Task, *, words: bool) -> tuple[list[str], int]:
    """Return the predictions in the submission format, and the number of replaced predictions."""
    if not task.labels:
        texts = [prediction.answer for prediction in predictions]
        numbers = [float(text) if NUMBER.fullmatch(text) else None for text in texts]
        values = [f"{min(HIGHEST, max(LOWEST, number or LOWEST)):.3f}" for number in numbers]
        return values, numbers.count(None)
    ids = {word: target for target, word in label_words(dict(task)).items()}
    replaced = sum(prediction.word is None for prediction in predictions)
    submitted = [row.word or max(row.probabilities, key=row.probabilities.__getitem__) for row in predictions]
    return (submitted if words else [ids[word] for word in submitted]), replaced
