"""Counts of what was read, as result.json has them."""

import re
from pathlib import Path

from krona.tasks import Task, official_rows
from tasks.glue_files import CONF, NAMES, config, task, write
from tasks.own_task import lines, load, made_up, mood, read
from tasks.test_splits import OFFICIAL


def test_clean_rows_are_counted_split_by_split(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join(lines(30)))
    got = read(tmp_path / "a.csv")
    assert got.facts["train"].pop("targets") == {label: got.train.targets.count(label) for label in ("0", "1", "2")}
    common = {"skipped_rows": 0, "skipped": [], "empty_texts": 0, "repeated": 0}
    assert {name: {k: v for k, v in facts.items() if k != "targets"} for name, facts in got.facts.items()} == {
        "train": {"rows": 24, "fingerprint": got.train.fingerprint, **common},
        "dev": {"rows": 3, "fingerprint": got.dev.fingerprint, **common, "also_in_train": 0},
        "test": {"rows": 3, "fingerprint": got.test.fingerprint, **common, "also_in_train": 0, "also_in_dev": 0},
    }
    assert official_rows(mood("a.csv"), got.parts) == {}


def test_glues_rows_are_those_of_the_documents() -> None:
    """The sizes that tests/tasks/test_splits.py and the comments of conf/task have."""
    for name in NAMES:
        found = official_rows(task(name), made_up(**OFFICIAL[name]).parts)
        assert found == {part: [rows, rows] for part, rows in OFFICIAL[name].items()}
        for text in re.findall(r"([\d,]+) rows;", (CONF / f"{name}.yaml").read_text()):
            assert int(text.replace(",", "")) == OFFICIAL[name]["train"]


def test_a_users_glue_like_task_and_the_sample_tasks_have_no_official_rows(tmp_path: Path) -> None:
    write(tmp_path, "rte")
    own = Task.from_config(config("rte") | {"hub_name": None})
    assert official_rows(own, load(own, kind="tsv", path=str(tmp_path)).parts) == {}
    sample = load(task("sample_rte"), kind="sample")
    assert official_rows(task("sample_rte"), sample.parts) == {}
