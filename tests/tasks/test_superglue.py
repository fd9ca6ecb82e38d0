"""Test the tasks of SuperGLUE: T5's texts, SuperGLUE's JSON lines, splits, and errors of one line."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

import one_job
from krona.messages import KronaError
from krona.tasks import Data, Split, data_fingerprint, hub, read_official_splits
from krona.tasks.values import mark_spans
from tasks.glue_files import task
from tasks.own_task import load, mood, read
from tasks.superglue_files import write

TEXTS = {  # the text of line 1 for T5
    "boolq": "boolq passage: Boat 1 -- It was painted. question: is boat 1 red",
    "cb": "cb hypothesis: boat 1 floats premise: Ann hopes that boat 1 floats.",
    "copa": "copa choice1: It had hole 1. choice2: It had flag 1. premise: Boat 1 sank. question: cause",
    "wic": "wic sentence1: Seal 1 barked. sentence2: The seal of jar 1 broke. word: seal",
    "multirc": "multirc question: Who has boat 0? answer: Ann1 paragraph: Sent 1: Ann has boat 0. Sent 2: She sails. ",
    "wsc": "wsc text: * Old Ann * sold boat 1 when # she #, at last, moved.",
}
ROWS = {"multirc": (21, 8, 9)}  # of train, dev and test


@pytest.mark.parametrize("name", TEXTS)
def test_superglues_lines_are_read_with_t5s_texts(name: str, tmp_path: Path) -> None:
    inner = write(tmp_path, name)
    parts = read_official_splits(task(name), Data(kind="jsonl", path=str(tmp_path)), prefix=False)
    assert (parts["train"].sources[1], parts["train"].targets[1]) == (TEXTS[name], "1")
    got = load(task(name), kind="jsonl", path=str(inner))
    assert (len(got.train), len(got.dev), len(got.test)) == ROWS.get(name, (6, 2, 3))
    assert task(name).data_kind == "superglue"
    before = data_fingerprint(task(name), Data(kind="jsonl", path=str(tmp_path)))
    write(tmp_path / "more", name, validation=6)
    assert before.startswith("jsonl:")
    assert data_fingerprint(task(name), Data(kind="jsonl", path=str(tmp_path / "more"))) != before


def test_the_hubs_data_set_follows_from_the_task_unless_it_is_typed() -> None:
    configs = [one_job.config(*line) for line in (["task=cb"], ["task=rte"], ["task=cb", "data.name=a/b"])]
    assert [config["data"]["name"] for config in configs] == ["aps/super_glue", "nyu-mll/glue", "a/b"]


def multirc_lines() -> list[dict[str, Any]]:
    """Return two paragraphs with equal texts. Each has two questions with equal texts and two answers."""
    numbers = iter(range(100))
    return [
        {"idx": p, "passage": {"text": "Ann has a boat.", "questions": [
            {"question": "Who?", "idx": 10 * p + q, "answers": [
                {"text": f"Ann {next(numbers)}", "idx": a, "label": a} for a in range(2)
            ]} for q in range(2)
        ]}} for p in range(2)
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["jsonl", "hub"])
def test_the_official_ids_define_questions(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = multirc_lines()
    inner = write(tmp_path, "multirc")
    for name in ("train", "val"):
        (inner / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = [
        {"paragraph": line["passage"]["text"], "question": question["question"], "answer": answer["text"],
         "idx": {"paragraph": line["idx"], "question": question["idx"], "answer": answer["idx"]},
         "label": answer["label"]}
        for line in lines for question in line["passage"]["questions"] for answer in question["answers"]
    ]  # fmt: skip
    official = datasets.DatasetDict({part: datasets.Dataset.from_list(rows) for part in ("train", "validation")})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: official)
    monkeypatch.setattr(hub, "unreachable", lambda _: None)
    source = {"path": str(tmp_path)} if kind == "jsonl" else {"name": "aps/super_glue"}
    parts = read_official_splits(task("multirc"), Data(kind=kind, **source), prefix=False)
    assert parts["validation"].groups == [0, 0, 1, 1, 2, 2, 3, 3]
    got = load(task("multirc"), kind=kind, **source)
    for split in (got.dev, got.test):
        assert split.groups == [0, 0, 1, 1]
    assert got.dev.join(got.test).groups == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {*got.dev.group_ids} | {*got.test.group_ids} == {("0", "0"), ("0", "1"), ("1", "10"), ("1", "11")}


def test_a_column_of_ids_groups_the_rows_of_an_own_task(tmp_path: Path) -> None:
    def rows_of(*ids: str) -> Split:
        lines = [f"day {i},sad,{one}" for i, one in enumerate(ids)]
        (tmp_path / "a.csv").write_text("\n".join(["text,label,story", *lines]) + "\n")
        return read(tmp_path / "a.csv", task={"group_columns": ["story"]}).train

    grouped = rows_of(*"aabbccddee")
    assert len(grouped) == 6  # two groups become dev and test
    assert grouped.groups == [0, 0, 1, 1, 2, 2]
    data = Data(kind="hub", path=str(tmp_path))
    by_story, by_text, without = (
        read_official_splits(mood("a.csv", group_columns=columns), data, prefix=False)["train"].fingerprint
        for columns in (["story"], ["text"], [])
    )
    assert by_story != by_text == without
    with pytest.raises(KronaError, match=r"a\.csv:3: the group column 'story' is empty"):
        rows_of("a", "", "b", "c")
    with pytest.raises(KronaError, match=r"has no column 'stori': did you mean 'story'"):
        read(tmp_path / "a.csv", task={"group_columns": ["stori"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"span1_text": "Tom"}, "train.jsonl:1: the text does not contain the span 'Tom'"),
        ({"span2_index": "six"}, "train.jsonl:1: the column 'span2_index' contains 'six', not an index"),
    ],
)
def test_a_span_that_is_not_in_its_text_is_one_message(change: dict[str, object], message: str, tmp_path: Path) -> None:
    file = write(tmp_path, "wsc") / "train.jsonl"
    first, *others = map(json.loads, file.read_text().splitlines())
    first["target"] |= change
    file.write_text("\n".join(map(json.dumps, [first, *others])))
    with pytest.raises(KronaError, match=message):
        load(task("wsc"), kind="jsonl", path=str(tmp_path))


def test_the_nearest_span_is_marked_if_the_index_is_wrong() -> None:
    text = "The other man met the man, and he (the latter) left."
    assert mark_spans(text, [("man", 4, "*"), ("HE", 7, "#")]) == text.replace("the man,", "the * man *,").replace(
        " he ", " # he # "
    )
    row = {"text": "* Ann * moved when # she # left.", "label": "true"}
    assert task("wsc").texts(row) == (row["text"],)
