"""Test the tasks of SuperGLUE: T5's texts, SuperGLUE's JSON lines, splits, and errors of one line."""

import json
from pathlib import Path

import pytest

from krona.config.compose import compose_job, hydra_session
from krona.messages import KronaError
from krona.tasks import Data, data_fingerprint, read_parts
from krona.tasks.sources import require_files
from tasks.glue_files import task
from tasks.own_task import load
from tasks.superglue_files import write

TEXTS = {  # the text of line 1 for T5
    "boolq": "boolq passage: Boat 1 -- It was painted. question: is boat 1 red",
    "cb": "cb hypothesis: boat 1 floats premise: Ann hopes that boat 1 floats.",
    "copa": "copa choice1: It had hole 1. choice2: It had flag 1. premise: Boat 1 sank. question: cause",
    "wic": "wic sentence1: Seal 1 barked. sentence2: The seal of jar 1 broke. word: seal",
}


@pytest.mark.parametrize("name", TEXTS)
def test_superglues_lines_are_read_with_t5s_texts(name: str, tmp_path: Path) -> None:
    inner = write(tmp_path, name)
    parts = read_parts(task(name), Data(kind="jsonl", path=str(tmp_path)), prefix=False)
    assert (parts["train"].sources[1], parts["train"].targets[1]) == (TEXTS[name], "1")
    got = load(task(name), kind="jsonl", path=str(inner))
    assert [len(got.train), len(got.dev), len(got.test), got.kind] == [6, 2, 3, "superglue"]
    before = data_fingerprint(task(name), Data(kind="jsonl", path=str(tmp_path)))
    write(tmp_path / "more", name, validation=6)
    assert before.startswith("jsonl:")
    assert data_fingerprint(task(name), Data(kind="jsonl", path=str(tmp_path / "more"))) != before


def test_labels_may_be_words_numbers_or_booleans() -> None:
    for value in (True, "true", 1, "1"):
        assert task("boolq").target({"label": value}) == "1"
    assert task("copa").target({"label": 0}) == "0"
    assert task("cb").target({"label": "neutral"}) == task("cb").target({"label": 2}) == "2"


def test_a_line_without_a_column_is_one_message_with_its_number(tmp_path: Path) -> None:
    file = write(tmp_path, "cb") / "val.jsonl"
    lines = file.read_text().splitlines()
    lines[2] = json.dumps({"premises": "Ann sails.", "hypothesis": "Ann sails", "label": "neutral"})
    file.write_text("\n".join(lines))
    with pytest.raises(KronaError, match=r"val\.jsonl:3: the key 'premise' is missing: did you mean 'premises'\?"):
        load(task("cb"), kind="jsonl", path=str(tmp_path))
    got = load(task("cb"), kind="jsonl", path=str(tmp_path), skip_bad_rows=True)
    assert len(got.dev) + len(got.test) == 4


@pytest.mark.parametrize(
    ("name", "kind", "path", "message"),
    [
        ("cb", "tsv", ".", "data=tsv does not contain task=cb. Use SuperGLUE itself with data=hub or data=jsonl"),
        ("rte", "jsonl", ".", "data=jsonl does not contain task=rte. Use GLUE itself with data=hub or data=tsv"),
        ("cb", "sample", None, "data=sample does not contain task=cb. Use SuperGLUE itself"),
        ("cb", "hub", ".", "Add data=jsonl, or remove data.path."),
        ("cb", "jsonl", None, "the folder of the SuperGLUE download, which contains CB/"),
    ],
)
def test_a_source_without_the_task_names_those_with_it(name: str, kind: str, path: str | None, message: str) -> None:
    with pytest.raises(KronaError, match=message):
        require_files(task(name), kind=kind, path=path)


def test_the_hubs_data_set_follows_from_the_task_unless_it_is_typed() -> None:
    with hydra_session():
        configs = [compose_job(line).config for line in (["task=cb"], ["task=rte"], ["task=cb", "data.name=a/b"])]
    assert [config["data"]["name"] for config in configs] == ["aps/super_glue", "nyu-mll/glue", "a/b"]
