"""Test the sample tasks: files equal to the generated ones, the columns of GLUE, and no pair in two splits."""

import gzip
import hashlib
import json

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

import sample_tasks as generated
from krona.tasks import data_sources

COLUMNS = {
    "cola": ["sentence"],
    "rte": ["sentence1", "sentence2"],
    "mrpc": ["sentence1", "sentence2"],
    "sst2": ["sentence"],
    "stsb": ["sentence1", "sentence2"],
    "mnli": ["premise", "hypothesis"],
    "qnli": ["question", "sentence"],
    "qqp": ["question1", "question2"],
    "copa": ["premise", "question", "choice1", "choice2"],
    "wic": ["sentence1", "sentence2", "word"],
}


@pytest.mark.parametrize("task", generated.MAKERS)
def test_splits_share_no_pair(task):
    rows = [row for split in generated.SPLIT_ROWS for row in generated.generate(task, split)]
    together = [generated.texts_key(row) for row in rows]
    assert len(together) == len(set(together)) == sum(generated.SPLIT_ROWS.values())


def test_the_shipped_files_are_what_the_script_gives() -> None:
    for tasks, name, fingerprint in (
        (generated.TASKS, "sample", data_sources.SAMPLE_FINGERPRINT),
        (generated.SUPERGLUE, "superglue", data_sources.SAMPLE_SUPERGLUE_FINGERPRINT),
    ):
        digest = hashlib.blake2b(digest_size=6)
        for task in tasks:
            for split in generated.SPLIT_ROWS:
                digest.update(json.dumps(generated.generate(task, split), sort_keys=True).encode())
        assert f"{name}-1-{digest.hexdigest()}" == fingerprint
    shipped = {path: gzip.decompress(path.read_bytes()).decode() for path in data_sources.SAMPLE_FILES.rglob("*.gz")}
    assert shipped == dict(generated.make_files())


@pytest.mark.parametrize("task", ["cola", "rte", "mrpc", "sst2", "mnli", "qnli", "qqp", "copa", "wic"])
def test_single_words_do_not_predict_the_label(task):
    splits = [generated.generate(task, split) for split in ("train", "test")]
    texts = [[" ## ".join(str(row[c]) for c in COLUMNS[task]) for row in rows] for rows in splits]
    labels = [np.array([row["label"] for row in rows]) for rows in splits]
    count = CountVectorizer(binary=True)
    model = LogisticRegression(max_iter=300).fit(count.fit_transform(texts[0]), labels[0])
    assert model.score(count.transform(texts[1]), labels[1]) < 0.8
