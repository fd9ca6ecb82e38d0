"""Test `krona evaluate`: the run's own score, scores of other rows and labels, and GLUE's submission files."""

import json
import math
import re
import shutil
import zipfile
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from adapters.conftest import finished
from krona.adapters.evaluate import Evaluation, RowChoice, evaluate, evaluate_runs, find_task_and_data
from krona.adapters.find import find
from krona.adapters.load import Trained, load
from krona.adapters.predictor import Prediction, Predictor
from krona.adapters.submission import submit
from krona.messages import KronaError
from krona.metrics.statistics import bootstrap
from krona.runs.predictions import read_outcomes
from krona.runs.result import read_result
from krona.tasks import Split
from one_job import config, run
from tasks import glue_files
from typed_run import krona

TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sample tasks in the layout of GLUE's download."""
    folder = tmp_path_factory.mktemp("glue")
    glue_files.unpack_samples(folder)
    return folder


@pytest.fixture(scope="module")
def encoders(tiny: dict[str, list[str]], outputs: Path) -> dict[str, Path]:
    """Return a dict from each task to a run on a tiny encoder. Encoders predict only labels."""
    return {name: finished(outputs, *tiny["bert"], "method=lora", f"task=sample_{name}") for name in TASKS}


def score(folder: Path, *, output: Path | None = None, **rows: Any) -> Evaluation:
    return evaluate(load(folder), RowChoice(**rows), output=output)


def test_a_score_of_probabilities_is_stored_checked_and_computed_again(
    tiny: dict[str, list[str]], outputs: Path, tmp_path: Path
) -> None:
    metrics = ["task.metrics=[roc_auc,accuracy,log_loss]", "task.score=[roc_auc]"]
    folder = finished(outputs, *tiny["bert"], "method=lora", "task=sample_rte", *metrics)
    result = read_result(folder / "result.json")
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    test = [row for row in rows if row["split"] == "test"]
    truth, shares = [row["target"] == "1" for row in test], [row["scores"]["not_entailment"] for row in test]
    assert result.test["score"] == pytest.approx(100 * roc_auc_score(truth, shares), rel=1e-12)
    outcomes = read_outcomes(result, folder / "predictions.jsonl")["test"]
    assert bootstrap([outcomes.answers], ["roc_auc"], draws=9).shape == (9,)
    one = score(folder, output=tmp_path / "a.jsonl")
    assert dict(one.parts) == pytest.approx(result.test["parts"], abs=1e-3)  # fp32 of two models
    both = ["entailment=duplicate", "not_entailment=duplicate"]
    score(folder, task="sample_qqp", mapping=both, output=tmp_path / "b.jsonl")
    mapped = [json.loads(line)["scores"] for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert {one["not_duplicate"] for one in mapped} == {0.0}
    assert [one["duplicate"] for one in mapped] == pytest.approx([1.0] * len(mapped), abs=1e-5)


def test_a_probability_that_is_not_a_number_is_null_and_the_row_is_wrong(
    tiny: dict[str, list[str]], outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = ["task.metrics=[roc_auc,accuracy,log_loss]", "task.score=[roc_auc]"]
    folder = finished(outputs, *tiny["bert"], "method=lora", "task=sample_rte", *metrics)

    def predict(self: Predictor, split: Split, **options: Any) -> list[Prediction]:
        unknown = Prediction("1", "not_entailment", {"entailment": math.nan, "not_entailment": math.nan})
        known = Prediction("1", "not_entailment", {"entailment": 0.4, "not_entailment": 0.6})
        return [unknown, *[known] * (len(split) - 1)]

    monkeypatch.setattr(Predictor, "predict_split", predict)
    found = score(folder, output=tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["scores"] for row in rows[:2]] == [
        {"entailment": None, "not_entailment": None},
        {"entailment": 0.4, "not_entailment": 0.6},
    ]
    truth = [row["target"] == "1" for row in rows]
    shares = [0.0 if truth[0] else 1.0, *[0.6] * (len(rows) - 1)]
    assert found.parts["roc_auc"] == pytest.approx(100 * roc_auc_score(truth, shares), rel=1e-12)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_runs_own_score_and_predictions(
    split: str, sst2: Path, encoders: dict[str, Path], tiny: dict[str, list[str]], outputs: Path, tmp_path: Path
) -> None:
    values = ["method=lora", "task=sample_qqp", "trainer.precision=bf16-true"]
    in_bf16 = finished(outputs, *tiny["llama"], *values)
    for folder in (sst2, encoders["rte"], encoders["stsb"], encoders["mnli"], in_bf16):
        result, output = read_result(folder / "result.json"), tmp_path / "a.jsonl"
        one = score(folder, split=split, output=output)
        kept = getattr(result, split)
        assert (one.score, dict(one.parts)) == (pytest.approx(kept["score"]), pytest.approx(kept["parts"]))
        assert (one.count, one.rows, one.run_id) == (result.splits[split]["rows"], split, folder.name)
        assert one.interval[0] <= one.score <= one.interval[1]
        own = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
        own = [{key: row[key] for key in row if key != "split"} for row in own if row["split"] == split]
        assert [json.loads(line) for line in output.read_text().splitlines()] == own
        wrong = sum(row["prediction"] not in ("0", "1") for row in own)
        assert folder != sst2 or one.no_label == wrong > 0


def test_the_adapters_file_alone(encoders: dict[str, Path], tmp_path: Path) -> None:
    file = shutil.copy(encoders["rte"] / "adapter.safetensors", tmp_path / "a.safetensors")
    assert score(Path(file)) == score(encoders["rte"])


def test_other_rows_of_the_same_task(encoders: dict[str, Path], glue: Path) -> None:
    rte = encoders["rte"]
    official = score(rte, task="rte", data=str(glue), split="validation")
    dev = score(rte, split="dev")
    assert (official.task, official.count, official.rows) == ("rte", dev.count, "validation")
    assert official.score == dev.score  # dev.tsv is the dev split of the sample task
    matched = score(encoders["mnli"], task="mnli", data=str(glue), split="validation_matched")
    assert matched.score == score(encoders["mnli"]).score
    assert not any("encoder reads" in note for note in read_result(encoders["mnli"] / "result.json").notes)
    with pytest.raises(KronaError, match=r"--split validaton was not found: did you mean 'validation'"):
        score(rte, task="rte", data=str(glue), split="validaton")


def test_skipped_rows_are_counted(encoders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    good, bad = (
        {"sentence1": text, "sentence2": "It is wet.", "label": "entailment"}
        for text in ("It rains.", ["It", "rains."])
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in (good, bad, good)))
    found = score(encoders["rte"], source=str(file), overrides=["data.skip_bad_rows=true"])
    assert found.count == 2
    assert "skipped 1 of 3 rows" in found.lines()[-1]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"overrides": ["data.skip_bad_rows=true"]}, {"kind": "tsv", "path": "own", "skip_bad_rows": True}),
        ({"overrides": ["data.seed=8"]}, {"path": "own", "seed": 8}),
        ({"data": "other"}, {"kind": "tsv", "path": "other"}),
        ({"data": "other", "overrides": ["data.protocol=validation"]}, {"path": "other", "protocol": "validation"}),
        ({"data": "hub"}, {"kind": "hub", "path": None, "name": "nyu-mll/glue"}),
        ({"task": "rte", "data": "sample"}, {"kind": "sample", "path": None}),
    ],
)
def test_other_data_are_split_like_those_of_the_run(choice: dict[str, Any], expected: dict[str, Any]) -> None:
    own = {**config("task=rte", "data=tsv", "data.seed=7")["data"], "path": "own", "protocol": "appendix_d1"}
    origin = SimpleNamespace(task_settings=glue_files.task("rte"))
    found: Any = SimpleNamespace(origin=origin, result=SimpleNamespace(config={"data": own}))
    _, data = find_task_and_data(found, RowChoice(**choice))
    defaults = {"seed": 7, "protocol": "appendix_d1"}
    assert {key: getattr(data, key) for key in {**defaults, **expected}} == {**defaults, **expected}


@pytest.mark.parametrize("override", ["task=rte", "task.name=x", "optimizer.lr=1", "trainer.threads=1"])
def test_an_override_that_would_have_no_effect_is_refused(override: str, encoders: dict[str, Path]) -> None:
    with pytest.raises(KronaError, match=rf"cannot use {override.partition('=')[0]}\. .*--task"):
        score(encoders["rte"], overrides=["data.skip_bad_rows=true", override])


@pytest.mark.parametrize("ids", [False, True])
def test_a_file_with_labels_as_words_or_as_ids(ids: bool, encoders: dict[str, Path], tmp_path: Path) -> None:
    rows = [("It rains.", "It is wet.", "entailment"), ("He sleeps.", "He is awake.", "not_entailment")] * 3
    number = {"entailment": "0", "not_entailment": "1"}
    path = tmp_path / "rows.tsv"
    named = [("sentence1", "sentence2", "label"), *((a, b, number[c] if ids else c) for a, b, c in rows)]
    path.write_text("".join("\t".join(row) + "\n" for row in named))
    one = score(encoders["rte"], source=str(path))
    answers = load(encoders["rte"]).predict([row[:2] for row in rows])
    right = sum(answer.word == row[2] for answer, row in zip(answers, rows, strict=True))
    assert (one.count, one.score) == (6, pytest.approx(100 * right / 6))
    path.write_text("sentence1\tsentence2\tlabel\na\tb\tperhaps\nc\td\tentailment\n")
    with pytest.raises(KronaError, match=r"rows.tsv:2: label 'perhaps' is not one of entailment \(0\), not_entailment"):
        score(encoders["rte"], source=str(path))
    assert score(encoders["rte"], source=str(path), overrides=["data.skip_bad_rows=true"]).count == 1
    path.write_text("sentence1\tsentence2\na\tb\n")
    with pytest.raises(KronaError, match="has no column 'label'"):
        score(encoders["rte"], source=str(path))


@pytest.mark.parametrize("name", TASKS)
def test_glues_own_labelled_files_as_input(name: str, encoders: dict[str, Path], glue: Path) -> None:
    """The column names in GLUE's own files, and CoLA's file without column names, are accepted."""
    file = "dev_mismatched" if name == "mnli" else "dev"
    path = glue / glue_files.FOLDERS[name] / f"{file}.tsv"
    one = score(encoders[name], source=str(path))
    assert (one.count, one.rows) == (200, str(path))
    assert one.score == pytest.approx(score(encoders[name], split="dev").score)


def test_another_tasks_rows(encoders: dict[str, Path], glue: Path) -> None:
    mnli = encoders["mnli"]
    with pytest.raises(KronaError, match=r"neutral and contradiction.*--map neutral="):
        score(mnli, task="rte", data=str(glue))
    one = score(
        mnli, task="rte", data=str(glue), split="validation",
        mapping=["neutral=not_entailment", "contradiction=not_entailment"],
    )  # fmt: skip
    rows = [line.split("\t") for line in (glue / "RTE" / "dev.tsv").read_text().splitlines()[1:]]
    answers = load(mnli).predict([row[1:3] for row in rows])
    right = sum((answer.word == "entailment") == (row[3] == "entailment")
                for answer, row in zip(answers, rows, strict=True))  # fmt: skip
    assert one.score == pytest.approx(100 * right / len(rows))
    assert 0 < one.score < 100
    for wrong in ("neutral", "maybe=entailment", "neutral=maybe"):
        with pytest.raises(KronaError, match=rf"--map {wrong} is invalid. .*entailment, neutral, contradiction"):
            score(mnli, task="rte", data=str(glue), mapping=[wrong])
    with pytest.raises(KronaError, match=r"sample_rte has labels and stsb is a regression"):
        score(encoders["rte"], task="stsb", data=str(glue))
    with pytest.raises(KronaError, match=r"reads 1 text of each row, but task rte has 2"):
        score(encoders["sst2"], task="rte", data=str(glue), mapping=["negative=entailment"])


def test_a_label_of_the_other_task_alone_does_not_count(
    encoders: dict[str, Path], glue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with the labels 0 and 1 predicts "2". The rows are those of a task that has a label 2."""
    answer = Prediction("2", None, {})
    monkeypatch.setattr(Trained, "predict_split", lambda trained, rows, **_: [answer] * len(rows))
    one = score(encoders["rte"], task="mnli", data=str(glue), split="validation_matched",
                mapping=["not_entailment=neutral"])  # fmt: skip
    assert (one.score, one.no_label) == (0, one.count)


def test_a_users_own_task(tiny: dict[str, list[str]], outputs: Path, tmp_path: Path) -> None:
    words, path = ("sad", "glad"), tmp_path / "days.csv"
    path.write_text("".join(["text,label\n", *(f"day {n} the cat sat on {n % 5},{words[n % 2]}\n" for n in range(60))]))
    named = {"name": "mood", "columns": ["text"], "labels": list(words), "metrics": ["accuracy"], "prefix": False}
    named |= {"template": "mood of {text}"}
    values = config(*(value for value in tiny["bert"] if value != "data=sample"), "method=lora", "task=sst2")
    job, _ = run({**values, "task": {**named, "files": {"train": str(path)}}}, outputs)
    folder = job.folder
    result = read_result(folder / "result.json")
    assert result.test is not None
    unread = "An encoder reads only the texts of the columns, without task.template and task.prefix."
    assert unread in result.notes
    one = score(folder)
    assert (one.score, one.notes) == (result.test["score"], [])
    alone = shutil.copy(folder / "adapter.safetensors", tmp_path / "a.safetensors")
    assert str(tmp_path) not in json.dumps(dict(find(alone).origin.task))  # a folder of this machine
    assert score(Path(alone), data=str(tmp_path), split="test").score == result.test["score"]
    assert score(Path(alone), source=str(path)).count == 60
    lines = path.read_text().splitlines(keepends=True)
    for text, changed in [
        (lines[:40], f"instead of {result.splits['test']['rows']}"),
        ([lines[0], *lines[:0:-1]], "other ids, texts"),
    ]:
        path.write_text("".join(text))
        for overrides in ([], ["data.skip_bad_rows=true"]):
            said = "\n".join(score(folder, overrides=overrides).lines())
            assert changed in said
            assert str(path) in said
        assert score(folder, source=str(path)).notes == []
        assert score(folder, data=str(tmp_path)).notes == []
    path.write_text("".join([*lines, '"two\nlines",sad\n']))
    assert not any("multi-line" in note for note in score(folder).notes)  # not in these rows
    assert score(folder, source=str(path)).notes[0].startswith("multi-line fields in 1 of 61 rows of days.csv (first ")


def submitted(folders: list[Path], glue: Path, out: Path) -> list[str]:
    found = [find(folder) for folder in folders]
    return submit(found, glue, out, backbone=None, batch_size=64)


def test_a_submission_of_all_tasks(encoders: dict[str, Path], glue: Path, tmp_path: Path) -> None:
    out = tmp_path / "glue.zip"
    said = submitted(list(encoders.values()), glue, out)
    labels = {name: {"0", "1"} for name in ("CoLA", "SST-2", "MRPC", "QQP")}
    labels |= {name: {"entailment", "neutral", "contradiction"} for name in ("MNLI-m", "MNLI-mm")}
    labels |= {name: {"entailment", "not_entailment"} for name in ("QNLI", "RTE")}
    with zipfile.ZipFile(out) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert files.keys() == {f"{name}.tsv" for name in (*labels, "STS-B")}
    for name, text in files.items():
        header, *rows = text.splitlines()
        assert header == "index\tprediction"
        assert [row.split("\t")[0] for row in rows] == [str(number) for number in range(200 if "mm" in name else 400)]
        values = {row.split("\t")[1] for row in rows}
        if name == "STS-B.tsv":
            assert all(0 <= float(value) <= 5 and len(value) == 5 for value in values)
        else:
            assert values <= labels[name.removesuffix(".tsv")]
    own = [json.loads(line) for line in (encoders["rte"] / "predictions.jsonl").read_text().splitlines()]
    words = [("entailment", "not_entailment")[int(row["prediction"])] for row in own if row["split"] == "test"]
    assert [row.split("\t")[1] for row in files["RTE.tsv"].splitlines()[1:]] == words
    assert "RTE.tsv: 400 rows, but GLUE's test set has 3,000" in said
    assert said[-1] == str(out)


def test_answers_that_are_no_label_or_no_number_are_counted(
    tiny: dict[str, list[str]], outputs: Path, glue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [finished(outputs, *tiny["t5"], "method=lora", f"task=sample_{name}") for name in ("sst2", "stsb")]
    unknown = Prediction("cat", None, {"negative": 0.4, "positive": 0.6})
    labels, ratings = [unknown, Prediction("0", "negative", {}), unknown], ["2.5", "nan", "7", "-1"]
    answers = {"sample_sst2": labels, "sample_stsb": [Prediction(text, None, {}) for text in ratings]}

    def predict(self: Predictor, split: Split, **options: Any) -> list[Prediction]:
        return list(islice(cycle(answers[self.task.name]), len(split)))

    monkeypatch.setattr(Predictor, "predict_split", predict)
    said = "\n".join(submitted(runs, glue, tmp_path / "a.zip"))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        values = {name: re.findall(r"\t(\S+)\n", archive.read(name).decode())[1:6] for name in archive.namelist()}
    assert values["SST-2.tsv"][:4] == ["1", "0", "1", "1"]
    assert values["STS-B.tsv"] == ["2.500", "0.000", "5.000", "0.000", "2.500"]
    assert re.findall(r"(\d+) predictions had to be replaced", said) == ["267", "100"]
    one = score(runs[1])
    assert f"  invalid predictions, which are scored as wrong: {one.count // 4} of {one.count}" in one.lines()


def test_refused_submissions(encoders: dict[str, Path], glue: Path, tmp_path: Path) -> None:
    out, rte = tmp_path / "a.zip", encoders["rte"]
    with pytest.raises(KronaError, match=r"were both trained on GLUE's rte"):
        submitted([rte, rte], glue, out)
    with pytest.raises(KronaError, match=r"RTE/test.tsv was not found. Set --data to the folder of the GLUE download"):
        submitted([rte], tmp_path, out)
    with pytest.raises(KronaError, match=r"a .zip file"):
        submitted([rte], glue, tmp_path / "a.tar")
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE" / "test.tsv").write_text("index\tsentence1\tsentence2\n")
    with pytest.raises(KronaError, match=r"test.tsv contains no rows"):
        submitted([rte], tmp_path, out)
    assert not out.exists()


def test_the_command(encoders: dict[str, Path], outputs: Path, tmp_path: Path) -> None:
    run, output = encoders["rte"], tmp_path / "a.jsonl"
    said = krona("evaluate", run, "--split", "dev", "--out", output)
    result = read_result(run / "result.json")
    assert result.dev is not None
    assert f"{run.name} on sample_rte, dev: {result.dev['score']:.2f} [" in said.replace("\n", " ")
    assert len(output.read_text().splitlines()) == 200


def test_a_score_below_the_minimum_fails(encoders: dict[str, Path]) -> None:
    run = encoders["rte"]
    score = krona("evaluate", run, "--min-score", 0).split(": ")[1].split()[0]
    with pytest.raises(KronaError, match=rf"{run.name}: the score {score} is below --min-score 101\."):
        krona("evaluate", run, "--min-score", 101)


def test_overrides_without_a_run_are_refused() -> None:
    with pytest.raises(KronaError, match=r"No run was given\. Give the beginning of a run's id, or --best SWEEP"):
        krona("evaluate", "method=krona")


def test_refused_options(encoders: dict[str, Path], tmp_path: Path) -> None:
    def wrong(count: int, message: str, **changes: Any) -> None:
        choice = {key: value for key, value in changes.items() if key not in ("output", "submission_to")}
        options: dict[str, Any] = {"output": None, "submission_to": None, "backbone": None, "batch_size": 64}
        options |= {key: value for key, value in changes.items() if key not in choice}
        names = [str(encoders[name]) for name in ("rte", "qnli")[:count]]
        with pytest.raises(KronaError, match=message):
            evaluate_runs(names, RowChoice(**choice), overwrite=False, console=Console(), **options)

    answers, archive = tmp_path / "a.jsonl", tmp_path / "a.zip"
    wrong(2, "--out needs exactly one run", output=answers)
    wrong(2, r"--submission needs GLUE's test sets.*--data FOLDER", submission_to=archive)
    glues = {"submission_to": archive, "data": str(tmp_path)}
    for other in ({"source": "a.csv"}, {"mapping": ["a=b"]}, {"output": answers}, {"task": "rte"}, {"split": "dev"}):
        wrong(1, "no other options for the rows", **glues, **other)
    wrong(1, "--input cannot be used with --data or --split", source="a.csv", data="hub", split="dev")
    for file in (answers, archive):
        file.write_text("mine")
    wrong(1, r"a.jsonl exists", output=answers)
    wrong(1, r"a.zip exists", submission_to=archive, data=str(tmp_path))
    assert archive.read_text() == "mine"
