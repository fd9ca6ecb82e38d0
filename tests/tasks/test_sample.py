"""The sample tasks: shapes like GLUE's, the same everywhere, no pair in two splits, no give-away word."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from krona.messages import KronaError
from krona.tasks import sample

COLUMNS = {
    "cola": ["sentence"],
    "rte": ["sentence1", "sentence2"],
    "mrpc": ["sentence1", "sentence2"],
    "sst2": ["sentence"],
    "stsb": ["sentence1", "sentence2"],
    "mnli": ["premise", "hypothesis"],
    "qnli": ["question", "sentence"],
    "qqp": ["question1", "question2"],
}


@pytest.mark.parametrize("task", sample.TASKS)
def test_rows_have_glue_columns_and_labels(task):
    rows = sample.generate(task, "train")
    assert len(rows) == sample.SPLIT_ROWS["train"]
    assert all(sorted(row) == sorted([*COLUMNS[task], "label", "idx"]) for row in rows)
    assert [row["idx"] for row in rows] == list(range(len(rows)))
    labels = [row["label"] for row in rows]
    if task == "stsb":
        assert all(isinstance(label, float) and 0.0 <= label <= 5.0 for label in labels)
        assert len(set(labels)) > 20
        return
    counts = Counter(labels)
    assert set(counts) == set(range(3 if task == "mnli" else 2))
    assert max(counts.values()) / len(rows) < 0.6


@pytest.mark.parametrize("task", sample.TASKS)
def test_splits_share_no_pair(task):
    keys = {split: [sample.texts_key(row) for row in sample.generate(task, split)] for split in sample.SPLIT_ROWS}
    together = [key for split in keys.values() for key in split]
    assert len(together) == len(set(together)) == sum(sample.SPLIT_ROWS.values())


def test_the_data_is_what_the_fingerprint_names():
    assert f"sample-1-{sample.content_hash()}" == sample.FINGERPRINT


def test_the_data_does_not_depend_on_the_hash_seed():
    code = "from krona.tasks import sample; print(sample.content_hash())"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == sample.content_hash()


@pytest.mark.parametrize("task", ["cola", "rte", "mrpc", "sst2", "mnli", "qnli", "qqp"])
def test_words_alone_do_not_give_the_label_away(task):
    splits = [sample.generate(task, split) for split in ("train", "test")]
    texts = [[" ## ".join(str(row[c]) for c in COLUMNS[task]) for row in rows] for rows in splits]
    labels = [np.array([row["label"] for row in rows]) for rows in splits]
    count = CountVectorizer(binary=True)
    model = LogisticRegression(max_iter=300).fit(count.fit_transform(texts[0]), labels[0])
    assert model.score(count.transform(texts[1]), labels[1]) < 0.8


def test_fewer_and_more_rows_are_the_same_stream():
    usual = sample.generate("rte", "train")
    assert sample.generate("rte", "train", 10) == usual[:10]
    assert sample.generate("rte", "train", 2100)[:2000] == usual


def test_unknown_names_are_named():
    with pytest.raises(KronaError, match="no sample task 'wnli'; there are cola"):
        sample.generate("wnli", "train")
    with pytest.raises(KronaError, match="no split 'validation'"):
        sample.generate("rte", "validation")
    with pytest.raises(KronaError, match="400 rows, 401"):
        sample.generate("rte", "test", 401)


def test_written_files_read_back(tmp_path):
    paths = sample.write(tmp_path, ["cola", "mnli", "stsb"])
    assert [str(p.relative_to(tmp_path)) for p in paths][:8] == [
        "CoLA/train.tsv", "CoLA/dev.tsv", "CoLA/test.tsv",
        "MNLI/train.tsv", "MNLI/dev_mismatched.tsv", "MNLI/test_mismatched.tsv", "MNLI/dev_matched.tsv",
        "MNLI/test_matched.tsv",
    ]  # fmt: skip
    labelled, unlabelled = (
        (tmp_path / f"MNLI/{part}_matched.tsv").read_text().splitlines() for part in ("dev", "test")
    )
    assert [line.split("\t")[:-2] for line in labelled] == [line.split("\t") for line in unlabelled]
    lines = (tmp_path / "CoLA/dev.tsv").read_text().splitlines()
    row = sample.generate("cola", "dev")[0]
    assert lines[0].split("\t")[1] == str(row["label"])
    assert lines[0].split("\t")[3] == row["sentence"]
    header, *lines = (tmp_path / "STS-B/dev.tsv").read_text().splitlines()
    assert header.split("\t")[-1] == "score"
    assert len(lines) == 200
    assert float(lines[0].split("\t")[9]) == sample.generate("stsb", "dev")[0]["label"]
    header, *lines = (tmp_path / "MNLI/dev_matched.tsv").read_text().splitlines()
    assert header.split("\t")[-1] == "gold_label"
    words = ["entailment", "neutral", "contradiction"]
    assert words.index(lines[5].split("\t")[-1]) == sample.generate("mnli", "test")[5]["label"]
