"""Test `krona evaluate`: the run's own score, and scores of other rows."""

import json
import shutil
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from adapters.conftest import finished
from krona.adapters.evaluate import Evaluation, RowChoice, evaluate, evaluate_runs
from krona.adapters.find import find
from krona.adapters.predictor import Prediction, Predictor
from krona.adapters.trained import load
from krona.messages import KronaError
from krona.metrics.statistics import bootstrap
from krona.runs.predictions import read_outcomes
from krona.runs.result import read_result
from one_job import config, run
from tasks import glue_files
from typed_run import krona

TASKS = ("cola", "stsb", "mnli", "rte")


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


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def score(folder: Path, *, output: Path | None = None, **rows: Any) -> Evaluation:
    return evaluate(load(folder), RowChoice(**rows), output=output)


def test_a_score_of_probabilities_is_stored_checked_and_computed_again(
    tiny: dict[str, list[str]], outputs: Path, tmp_path: Path
) -> None:
    metrics = ["task.metrics=[roc_auc,accuracy,log_loss]", "task.score=[roc_auc]"]
    folder = finished(outputs, *tiny["bert"], "method=lora", "task=sample_rte", *metrics)
    result = read_result(folder / "result.json")
    test = [row for row in rows_of(folder) if row["split"] == "test"]
    truth, shares = [row["target"] == "1" for row in test], [row["scores"]["not_entailment"] for row in test]
    assert result.test["score"] == pytest.approx(100 * roc_auc_score(truth, shares), rel=1e-12)
    outcomes = read_outcomes(result, folder / "predictions.jsonl")["test"]
    assert bootstrap([outcomes.answers], ["roc_auc"], draws=9).shape == (9,)
    one = score(folder, output=tmp_path / "a.jsonl")
    assert dict(one.parts) == pytest.approx(result.test["parts"], abs=1e-3)  # fp32 of two models


@pytest.mark.parametrize(
    ("kind", "task", "method", "precision"),
    [
        ("bert", "rte", "method=lora", "32-true"),
        ("bert", "rte", "method=full keep=all", "32-true"),
        ("bert", "rte", "method=peft/p_tuning", "32-true"),  # on the backbone that full fine-tuning would change
        ("bert", "rte", "method=peft/prefix_tuning", "bf16-frozen"),
        ("bert", "rte", "method=lora", "bf16-mixed"),
        ("bert", "mnli", "method=lora", "32-true"),
        ("bert", "stsb", "method=lora", "32-true"),
        ("llama", "rte", "method=krona", "32-true"),
        ("llama", "rte", "method=dora", "bf16-frozen"),
        ("llama", "rte", "method=peft/prefix_tuning", "32-true"),
        ("llama", "qqp", "method=lora", "bf16-true"),
        ("t5", "sst2", "method=krona", "bf16-frozen"),
        ("t5", "stsb", "method=lora", "32-true"),
    ],
)
def test_the_runs_own_scores_and_predictions(
    kind: str, task: str, method: str, precision: str, tiny: dict[str, list[str]], outputs: Path, tmp_path: Path
) -> None:
    values = [*method.split(), f"task=sample_{task}", f"trainer.precision={precision}"]
    folder, output = finished(outputs, *tiny[kind], *values), tmp_path / "a.jsonl"
    trained, result = load(folder), read_result(folder / "result.json")
    assert result.provenance["scoring_precision"] == precision
    assert trained.in_bf16 == (precision in ("bf16-mixed", "bf16-frozen"))
    for split in ("dev", "test"):
        kept = getattr(result, split)
        own = [{key: row[key] for key in row if key != "split"} for row in rows_of(folder) if row["split"] == split]
        one = evaluate(trained, RowChoice(split=split), output=output)
        assert (one.score, dict(one.parts)) == (pytest.approx(kept["score"]), pytest.approx(kept["parts"]))
        assert (one.count, one.rows, one.run_id) == (result.splits[split]["rows"], split, folder.name)
        assert one.interval[0] <= one.score <= one.interval[1]
        assert [json.loads(line) for line in output.read_text().splitlines()] == own
        assert len({row["prediction"] for row in own}) > 1  # otherwise the test would prove nothing
        if kind == "t5":  # its texts can be anything
            wrong = sum(row["prediction"] not in ("0", "1") for row in own)
            assert one.no_label == wrong > 0 or task == "stsb"
    if precision == "32-true" and task == "rte":  # other logits differ in their last digits if the batches differ
        evaluate(trained, RowChoice(split="test"), output=output, batch_size=7)
        answers = [json.loads(line)["prediction"] for line in output.read_text().splitlines()]
        assert answers == [row["prediction"] for row in own]


@pytest.mark.parametrize("override", ["task=rte", "trainer.threads=1"])
def test_an_override_that_would_have_no_effect_is_refused(override: str, encoders: dict[str, Path]) -> None:
    with pytest.raises(KronaError, match=rf"cannot use {override.partition('=')[0]}\. .*data\.KEY=VALUE"):
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
    assert score(Path(alone), source=str(path)).count == 60
    lines = path.read_text().splitlines(keepends=True)
    for text in (lines[:40], [lines[0], *lines[:0:-1]]):
        path.write_text("".join(text))
        for overrides in ([], ["data.skip_bad_rows=true"]):
            said = "\n".join(score(folder, overrides=overrides).lines())
            assert "the data have changed since training: test (read from " in said
        assert score(folder, source=str(path)).notes == []


def test_answers_that_are_no_number_are_counted(
    tiny: dict[str, list[str]], outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(outputs, *tiny["t5"], "method=lora", "task=sample_stsb", "trainer.precision=32-true")
    assert not all(row["prediction"].replace(".", "").isdigit() for row in rows_of(run))  # cut where the run cut them
    (answer,) = load(run).predict([["A dog sat.", "A dog sat."]])
    assert (answer.word, answer.probabilities) == (None, {})
    ratings = [Prediction(text, None, {}) for text in ("2.5", "nan", "7", "-1")]
    monkeypatch.setattr(Predictor, "predict_split", lambda self, split, **_: list(islice(cycle(ratings), len(split))))
    one = score(run)
    assert f"  invalid predictions, which are scored as wrong: {one.count // 4} of {one.count}" in one.lines()


def test_the_command(encoders: dict[str, Path], outputs: Path, tmp_path: Path) -> None:
    run, output = encoders["rte"], tmp_path / "a.jsonl"
    said = krona("evaluate", run, "--split", "dev", "--out", output)
    result = read_result(run / "result.json")
    assert result.dev is not None
    assert f"{run.name} on sample_rte, dev: {result.dev['score']:.2f} [" in said.replace("\n", " ")
    assert len(output.read_text().splitlines()) == 200


def test_refused_options(encoders: dict[str, Path], tmp_path: Path) -> None:
    mine, new = tmp_path / "a.jsonl", tmp_path / "new.jsonl"
    mine.write_text("mine")
    one, other = (str(encoders[name]) for name in ("rte", "cola"))
    for runs, rows, output, message in [
        ([one, other], RowChoice(), new, "--out needs exactly one run"),
        ([one], RowChoice(source="a.csv", split="dev"), new, "--input cannot be used with --split"),
        ([one], RowChoice(), mine, r"a.jsonl exists"),
    ]:
        options: dict[str, Any] = {"backbone": None, "batch_size": 64, "overwrite": False}
        with pytest.raises(KronaError, match=message):
            evaluate_runs(runs, rows, output=output, console=Console(), **options)
    assert mine.read_text() == "mine"
