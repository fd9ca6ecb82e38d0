"""Test the task that `krona init NAME --from FILE` writes: columns, labels, metrics and messages."""

import csv
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from krona.messages import KronaError
from krona.tasks import Task
from krona.tasks.draft import draft_task
from tasks.own_task import load

TICKETS = [
    {
        "id": f"T-{i}",
        "language": ("en", "de")[i % 2],
        "body": f'My invoice, number {i}, is "wrong"\nand {i % 7} days late',
        "category": ("billing", "login", "no")[i % 3],
        "empty": "",
    }
    for i in range(60)
]


def write_csv(file: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> Path:
    with file.open("w", newline="", encoding="utf-8") as opened:
        table = csv.DictWriter(opened, [*rows[0]], delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    return file


def compose(text: str) -> Task:
    return Task.from_config(yaml.safe_load(text))


def test_the_columns_and_labels_are_found_and_the_task_reads_the_file(tmp_path: Path) -> None:
    rows = [*TICKETS, {**TICKETS[0], "body": " "}, {**TICKETS[0], "category": ""}]
    draft = draft_task("tickets", write_csv(tmp_path / "t.csv", rows))
    task = compose(draft.yaml)
    assert (task.columns, task.label_column, task.metrics) == (("body",), "category", ("accuracy", "macro_f1"))
    assert task.labels == {"billing": 0, "login": 1, "no": 2}
    assert '- "billing" # 21' in draft.yaml
    assert task.skip_bad_rows
    assert draft.messages == [
        "label column: category (guessed; --label COLUMN selects another column)",
        "text column: body (guessed; --text COLUMN selects other columns)",
        "runs have 30 steps (max_steps in the file) for a first answer. For the final answer, add trainer.max_steps=-1",
        "3 labels: billing (21), login (20), no (20)",
        "rows that are malformed, or have no text or no label: 2 of 62. "
        "Runs skip and count them (skip_bad_rows: true in the file)",
    ]
    splits = load(task, kind="hub", skip_bad_rows=True)
    assert sum(map(len, splits.by_role.values())) == 60


def test_a_file_without_rows_or_with_semicolons_is_one_message(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b\n1\n")
    with pytest.raises(KronaError, match=r"no rows that can be read \(.*t\.csv:2: the row has 1 field.*\)\.$"):
        draft_task("tickets", file)
    file.write_text("id;body;category\n1;a text;bug\n")
    with pytest.raises(KronaError, match=r"has only one column, 'id;body;category'\. Save it as a CSV with commas"):
        draft_task("tickets", file)


def test_named_columns_are_not_guessed(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "t.csv", TICKETS)
    draft = draft_task("t", file, texts=["id", "body"], label="language")
    assert compose(draft.yaml).columns == ("id", "body")
    assert compose(draft.yaml).labels == {"de": 0, "en": 1}
    assert not any("guessed" in message for message in draft.messages)


@pytest.mark.parametrize("kind", ["tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_task(kind: str, tmp_path: Path) -> None:
    rows = [{**row, "body": row["body"].replace("\n", " ")} for row in TICKETS]
    file = tmp_path / f"t.{kind}"
    match kind:
        case "tsv":
            file.write_text("\n".join("\t".join(line) for line in [list(rows[0]), *(row.values() for row in rows)]))
        case "jsonl":
            pa_rows = pa.Table.from_pylist(rows).to_pandas()
            pa_rows.to_json(file, orient="records", lines=True)
        case "parquet":
            pq.write_table(pa.Table.from_pylist(rows), file)
    draft = draft_task("t", file)
    expected = draft_task("t", write_csv(tmp_path / "t.csv", rows))
    assert draft.yaml.replace(f"t.{kind}", "t.csv") == expected.yaml
    one, two = (load(compose(text), kind="hub") for text in (draft.yaml, expected.yaml))
    assert (one.train.fingerprint, one.test.fingerprint) == (two.train.fingerprint, two.test.fingerprint)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([f"{i / 7:.2f}" for i in range(40)], None),
        ([str(i) for i in range(40)], None),
        (["1.5", "2.5"] * 20, None),
        ([str(1 + i % 5) for i in range(40)], {str(i): i - 1 for i in range(1, 6)}),
        ([str(i % 11 - 5) if i % 11 < 9 else "0" for i in range(40)], {str(i): i + 5 for i in range(-5, 4)}),
    ],
)
def test_numbers_are_a_regression_unless_they_are_few_whole_numbers(
    values: list[str], labels: dict[str, int] | None, tmp_path: Path
) -> None:
    rows = [{"text": f"a text with the number {i}", "target": value} for i, value in enumerate(values)]
    task = compose(draft_task("t", write_csv(tmp_path / "t.csv", rows)).yaml)
    assert (task.labels, task.metrics[0]) == (labels, "accuracy" if labels else "pearson")
    load(task, kind="hub")


def test_rare_and_similar_labels_are_named(tmp_path: Path) -> None:
    rows = [{"text": f"a text with the number {i}", "label": ("Bug", "bug ", "ok")[i % 3]} for i in range(30)]
    file = write_csv(tmp_path / "t.csv", [*rows, {"text": "one of a kind, alone", "label": "odd"}])
    messages = draft_task("t", file).messages
    assert any("'Bug' and 'bug' differ only in case or blanks" in message for message in messages)
    assert messages[-1].startswith("fewer than 3 rows: odd.")


def test_whole_numbers_as_classes_are_announced(tmp_path: Path) -> None:
    rows = [{"text": f"some long text, number {i}", "priority": 1 + i % 5} for i in range(40)]
    draft = draft_task("t", write_csv(tmp_path / "t.csv", rows), texts=["text"], label="priority")
    message = "the numbers are read as classes. For a regression, write labels: null and metrics: [pearson]"
    assert message in draft.messages
    assert not any(message in one for one in draft_task("t", write_csv(tmp_path / "u.csv", TICKETS)).messages)


FAULTS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "two label columns": (
        [{"body": "some long text, number " + str(i), "a": "xy"[i % 2], "b": "zw"[i % 2]} for i in range(20)],
        {},
        "several columns may be the label: a, b. Name the label column with --label COLUMN (body, a, b).",
    ),
    "none": ([{"body": f"some long text, number {i}"} for i in range(20)], {}, "no column looks like labels"),
    "a wrong column": (TICKETS, {"label": "categori"}, "has no column 'categori': did you mean 'category'?"),
    "ids": (TICKETS, {"label": "id"}, "'id' has 60 different values in 60 rows. Choose another --label"),
    "text as label": (TICKETS, {"texts": ["body"], "label": "body"}, "cannot be both text and label"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_without_a_task_is_one_message(name: str, tmp_path: Path) -> None:
    rows, options, message = FAULTS[name]
    with pytest.raises(KronaError, match=re.escape(message)) as caught:
        draft_task("t", write_csv(tmp_path / "t.csv", rows), **options)
    assert "\n" not in str(caught.value)
