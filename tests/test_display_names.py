"""Test the labels and the order of methods and tasks."""

from pathlib import Path

import pytest

from krona.display_names import method_label, method_labels, method_order, task_label, task_order
from krona.paper import read_paper_table


def test_tasks() -> None:
    assert (task_label("sst2"), task_label("sample_sst2")) == ("SST-2", "SST-2 sample")
    assert task_label("mine") == "mine"
    assert sorted(["mine", "qqp", "cola"], key=task_order) == ["cola", "qqp", "mine"]


def test_methods_are_in_the_order_of_table_1() -> None:
    names = list(method_labels())
    assert names[:9] == list(read_paper_table("1").rows)
    assert method_label("krona_b") == "KronA^B"


def test_a_method_of_the_user_sets_its_label_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "conf" / "method"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\nmethod:\n  name: mine\n  label: Mine\n  order: 1000\n")
    (folder / "other.yaml").write_text("# @package _global_\nmethod:\n  name: other\n")
    (folder / "broken.yaml").write_text("method: [\n")
    monkeypatch.chdir(tmp_path)
    assert (method_label("mine"), method_order("mine")) == ("Mine", (1000, "mine"))
    assert method_label("other") == "other"
    assert [name for name in method_labels() if name in ("eva", "mine", "other")] == ["eva", "mine", "other"]
    assert sorted(["broken", "other", "mine", "full"], key=method_order) == ["full", "mine", "broken", "other"]
