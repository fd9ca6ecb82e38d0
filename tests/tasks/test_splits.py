"""Test the two protocols with GLUE's real sizes, the seeds, and small balanced subsets of train."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from krona.messages import KronaError
from krona.tasks import Data, Split, Splits, Task, notes
from krona.tasks.notes import OFFICIAL_ROWS
from krona.tasks.splits import divide, permutation
from krona.tasks.splits import load as load_splits
from tasks.glue_files import task, write
from tasks.own_task import MOODS, load, mood, read

OWN = mood("a.csv")


def divided(parts: dict[str, Split], task: Task, **data: Any) -> tuple[Split, Split, Split]:
    return divide(parts, task, Data(kind="hub", **data))


def part(name: str, rows: int) -> Split:
    ids = [f"{name}-{i}" for i in range(rows)]
    return Split(ids=ids, sources=ids, targets=["0"] * rows, texts=[(text,) for text in ids])


SIZES = {
    "table1": {
        "rte": (2490, 138, 139),
        "mrpc": (3668, 204, 204),
        "cola": (8551, 521, 522),
        "stsb": (5749, 750, 750),
        "sst2": (66349, 1000, 872),
        "qnli": (103743, 1000, 5463),
        "qqp": (362846, 1000, 40430),
        "mnli": (392702, 9832, 9815),
    },
    "appendix_d1": {
        "rte": (2490, 138, 139),
        "sst2": (66349, 872, 1000),
        "qnli": (103743, 5463, 1000),
        "qqp": (362846, 40430, 1000),
        "mnli": (391702, 9815, 1000),
    },
}


def slow_if_large(protocol: str, name: str) -> Any:
    marks = [pytest.mark.slow] if OFFICIAL_ROWS[name]["train"] > 100_000 else []
    return pytest.param(protocol, name, marks=marks)


@pytest.mark.parametrize(
    ("protocol", "name"), [slow_if_large(protocol, name) for protocol, sizes in SIZES.items() for name in sizes]
)
def test_real_sizes(protocol: str, name: str) -> None:
    parts = {key: part(key, rows) for key, rows in OFFICIAL_ROWS[name].items()}
    got = divided(parts, task(name), protocol=protocol)
    assert tuple(len(split) for split in got) == SIZES[protocol][name]
    used = [row for split in got for row in split.ids]
    assert len(used) == len(set(used))


def test_halves_follow_torchs_permutation_of_seed_42() -> None:
    parts = {"train": part("train", 5), "validation": part("validation", 277)}
    order = torch.randperm(277, generator=torch.Generator().manual_seed(42)).tolist()
    train, dev, test = divided(parts, task("rte"))
    assert train.ids == [f"train-{i}" for i in range(5)]
    assert dev.ids == [f"validation-{i}" for i in order[:138]]
    assert test.ids == [f"validation-{i}" for i in order[138:]]


def test_the_first_thousand_of_permuted_train_are_carved_out() -> None:
    parts = {"train": part("train", 1200), "validation": part("validation", 9)}
    order = [f"train-{i}" for i in torch.randperm(1200, generator=torch.Generator().manual_seed(42)).tolist()]
    train, dev, test = divided(parts, task("sst2"))
    assert (train.ids, dev.ids, test.ids) == (order[1000:], order[:1000], parts["validation"].ids)
    train, dev, test = divided(parts, task("sst2"), protocol="appendix_d1")
    assert (train.ids, dev.ids, test.ids) == (order[1000:], parts["validation"].ids, order[:1000])


def test_the_official_validation_rows_are_dev_and_test() -> None:
    parts = {name: part(name, 5) for name in ("train", "validation", "validation_matched", "validation_mismatched")}
    for name, official in (("rte", "validation"), ("sst2", "validation"), ("mnli", "validation_matched")):
        expected = (parts["train"], parts[official], parts[official])
        assert divided(parts, task(name), protocol="validation") == expected


@pytest.mark.parametrize(("rows", "low", "high"), [(3, 1, 1), (300, 15, 45), (10_010, 450, 560)])
def test_missing_splits_are_rows_of_train(rows: int, low: int, high: int) -> None:
    parts = {"train": part("train", rows)}
    got = divided(parts, OWN)
    assert sorted(row for split in got for row in split.ids) == sorted(parts["train"].ids)
    assert all(low <= len(split) <= high for split in got[1:])
    other = divided(parts, OWN, seed=43)
    assert rows < 10 or other[1].ids != got[1].ids
    given = {**parts, "dev": part("dev", 3), "test": part("test", 2)}
    assert divided(given, OWN) == tuple(given.values())


@pytest.mark.parametrize("settings", [{}, {"dev_from_train": 0.2, "test_from_train": 0.1}])
def test_an_appended_row_moves_no_other_row(settings: Any, tmp_path: Path) -> None:
    file = labelled(tmp_path / "a.csv", {"sad": 120, "calm": 100, "glad": 80})
    before = read(file, **settings)
    file.write_text(file.read_text().replace("text,label\n", "text,label\nanother day,sad\n"))
    after = read(file, **settings)
    for role, split in before.by_role.items():
        assert {*split.texts} <= {*after.by_role[role].texts}


def test_equal_texts_stay_in_one_split(tmp_path: Path) -> None:
    file = labelled(tmp_path / "a.csv", {"sad": 60, "calm": 60})
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, *lines[1:]]))
    counts = read(file).counts
    assert counts["dev"]["also_in_train"] == counts["test"]["also_in_train"] == counts["test"]["also_in_dev"] == 0
    assert counts["test"]["repeated"] > 0


def labelled(path: Path, counts: dict[str, int]) -> Path:
    """Write a file with ``counts[label]`` rows of each label, sorted by label."""
    rows = [f"day {label} {i},{label}" for label, count in counts.items() for i in range(count)]
    path.write_text("\n".join(["text,label", *rows]))
    return path


@pytest.mark.parametrize("seed", range(5))
def test_splits_of_own_data_have_each_label(seed: int, tmp_path: Path) -> None:
    got = read(labelled(tmp_path / "a.csv", {"sad": 252, "calm": 45, "glad": 3}), seed=seed)
    assert all(min(Counter(split.targets)[target] for target in "012") >= 1 for split in got.by_role.values())
    exact = read(tmp_path / "a.csv", seed=seed, dev_from_train=30)
    assert len(exact.dev) == 30


def test_train_has_priority_if_a_label_has_few_rows(tmp_path: Path) -> None:
    got = read(labelled(tmp_path / "a.csv", {"sad": 97, "calm": 2, "glad": 1}), seed=1)
    assert [Counter(split.targets)["1"] for split in got.by_role.values()] == [1, 1, 0]
    assert [Counter(split.targets)["2"] for split in got.by_role.values()] == [1, 0, 0]
    messages = notes(mood("a.csv"), got)
    assert "dev has no rows of glad (2), which its score therefore does not measure." in messages
    assert "test has no rows of calm (1) and glad (2), which its score therefore does not measure." in messages


def test_halves_of_dev_and_a_task_with_groups(tmp_path: Path) -> None:
    train, dev = tmp_path / "train.csv", tmp_path / "dev.csv"
    labelled(train, {"sad": 9, "calm": 9, "glad": 9})
    labelled(dev, {"sad": 60, "calm": 60})
    got = read(train, task={"files": {"train": "train.csv", "dev": "dev.csv"}})
    assert all(45 <= len(split) <= 75 for split in (got.dev, got.test))
    file = tmp_path / "groups.csv"
    file.write_text("\n".join(["text,label,key", *(f"day {i},{MOODS[i % 3]},{i % 40}" for i in range(120))]))
    grouped = read(file, task={"group_columns": ["key"]})
    keys = [{*split.group_ids} for split in grouped.by_role.values()]
    assert all(keys)
    assert sum(map(len, keys)) == len(set.union(*keys)) == 40


@pytest.mark.parametrize(("dev", "test"), [(30, None), (0.1, 20), (None, 0.2)])
@pytest.mark.parametrize("name", ["cola", "sst2", "mnli"])
def test_dev_and_test_rows_from_train(name: str, dev: float | None, test: float | None) -> None:
    official = {"mnli": ["validation_matched", "validation_mismatched"]}.get(name, ["validation"])
    parts = {"train": part("train", 1300), **{key: part(key, 40) for key in official}}
    plain = divided(parts, task(name))
    got = divided(parts, task(name), dev_from_train=dev, test_from_train=test)
    whole = plain[2].ids if dev is None else parts[official[0]].ids
    held = 0 if dev is None else 30 if dev == 30 else 130
    before = len(plain[0]) if dev is None else 1300 - held
    added = 0 if test is None else 20 if test == 20 else round(0.2 * before)
    assert got[2].ids[: len(whole)] == whole
    assert [len(split) for split in got] == [before - added, held or len(plain[1]), len(whole) + added]
    assert all(row.startswith("train-") for row in [*got[0].ids, *got[2].ids[len(whole) :]])
    used = [row for split in got for row in split.ids]
    assert len(used) == len(set(used))


def test_rows_that_are_phrases_of_one_sentence_form_a_group(tmp_path: Path) -> None:
    sentences = [f"the film no. {i} is rather dull , but well played" for i in range(40)]
    phrases = [phrase for i in range(40) for phrase in (f"no. {i} is rather dull", f"film no. {i}", f"no. {i}")]
    (tmp_path / "SST-2").mkdir()
    for name, texts in {"train": [*phrases, *sentences], "dev": ["rather dull", "dull"]}.items():
        lines = ["sentence\tlabel", *(f"{text}\t{number % 2}" for number, text in enumerate(texts))]
        (tmp_path / "SST-2" / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    settings: Any = {"kind": "tsv", "path": str(tmp_path)}
    splits = load_splits(task("sst2"), Data(**settings, dev_from_train=16, test_from_train=40))
    numbers = [
        {text.partition("no. ")[2].split(" ")[0] for (text,) in split.texts} for split in splits.by_role.values()
    ]
    numbers[2].remove("")  # the rows of the official validation set
    assert [len(split) for split in splits.by_role.values()] == [104, 16, 42]
    assert [len(found) for found in numbers] == [26, 4, 10]  # whole sentences, each with its phrases
    assert splits.test.groups is not None
    assert len({*splits.test.groups}) == 11  # the phrases of the validation set have their own group


def test_dev_from_train_with_own_files() -> None:
    parts = {"train": part("train", 80), "dev": part("dev", 9), "test": part("test", 8)}
    for given, test in ((("train", "test"), "test"), (("train", "dev"), "dev")):
        got = divided({key: parts[key] for key in given}, OWN, dev_from_train=0.25)
        assert (len(got[0]) + len(got[1]), got[2].ids) == (80, parts[test].ids)
        assert 10 <= len(got[1]) <= 30
    with pytest.raises(KronaError, match=r"the task mood has its own rows for dev and test\. Remove files\.dev"):
        divided(parts, OWN, dev_from_train=0.25)
    with pytest.raises(KronaError, match=r"data\.dev_from_train=0\.25 .* data\.protocol=validation\. Remove one"):
        divided(parts, OWN, dev_from_train=0.25, protocol="validation")
    with pytest.raises(KronaError, match=r"not contain 'validation': .* For files of your own, set task.split=given\."):
        divided(parts, task("rte"))
    with pytest.raises(KronaError, match=r"data\.dev_from_train=80: no rows are left for train, which has 80 rows"):
        divided(parts, task("rte"), dev_from_train=80)


@pytest.mark.parametrize("seed", [0, 7, 42, 2**32 - 1])
@pytest.mark.parametrize("rows", [0, 1, 2, 277, 67_349])
def test_the_permutation_is_that_of_torch(rows: int, seed: int) -> None:
    expected = torch.randperm(rows, generator=torch.Generator().manual_seed(seed)).tolist()
    assert permutation(rows, seed) == expected


def test_a_part_of_train_is_balanced_seeded_and_leaves_dev_and_test_alone(tmp_path: Path) -> None:
    write(tmp_path, "mnli", train=90)

    def read_some(**data: Any) -> Splits:
        return load(task("mnli"), kind="tsv", path=str(tmp_path), **data)

    whole, some = read_some(), read_some(train_rows=31)
    assert sorted(Counter(some.train.targets).values()) == [10, 10, 11]
    assert len(set(some.train.ids)) == 31
    assert set(some.train.ids) < set(whole.train.ids)
    assert (some.dev, some.test) == (whole.dev, whole.test)
    assert read_some(train_rows=31, subset_seed=42) == some
    assert read_some(train_rows=31, seed=1).train.ids != some.train.ids
    other = read_some(train_rows=31, subset_seed=1)
    assert other.train.ids != some.train.ids
    assert (other.dev, other.test) == (some.dev, some.test), "a subset of its own moves no other split"
    assert some.train.fingerprint != whole.train.fingerprint


def test_a_rare_label_is_taken_whole_and_the_others_fill_up(tmp_path: Path) -> None:
    inner = write(tmp_path, "cola", train=40)
    lines = (inner / "train.tsv").read_text().splitlines()
    rare = [re.sub(r"\t[01]\t", "\t1\t" if i < 3 else "\t0\t", line) for i, line in enumerate(lines)]
    (inner / "train.tsv").write_text("\n".join(rare))
    some = load(task("cola"), kind="tsv", path=str(tmp_path), train_rows=20)
    assert Counter(some.train.targets) == {"1": 3, "0": 17}
    write(tmp_path, "stsb", train=30)
    regression = load(task("stsb"), kind="tsv", path=str(tmp_path), train_rows=10)
    assert len(set(regression.train.ids)) == 10


def test_splits_with_no_rows(tmp_path: Path) -> None:
    write(tmp_path, "rte", dev=1)
    with pytest.raises(KronaError, match="no rows are left for dev"):
        load(task("rte"), kind="tsv", path=str(tmp_path))
    write(tmp_path, "sst2", train=1000)
    for protocol, role in (("table1", "dev"), ("appendix_d1", "test")):
        with pytest.raises(KronaError, match=rf"1,000 rows and data.protocol={protocol} moves 1,000 of them to {role}"):
            load(task("sst2"), kind="tsv", path=str(tmp_path), protocol=protocol)


def test_the_fingerprint_is_of_the_texts(tmp_path: Path) -> None:
    inner = write(tmp_path, "rte")
    one = load(task("rte"), kind="tsv", path=str(tmp_path))
    prefixed = load(task("rte"), kind="tsv", path=str(tmp_path), prefix=True)
    assert prefixed.train.sources[0] == f"rte {one.train.sources[0]}"
    assert prefixed.train.fingerprint != one.train.fingerprint
    assert load(task("rte", prefix=False), kind="tsv", path=str(tmp_path), prefix=True) == one
    file = inner / "train.tsv"
    file.write_text(file.read_text().replace("cat no. 5", "dog no. 5"))
    changed = load(task("rte"), kind="tsv", path=str(tmp_path))
    assert changed.train.fingerprint != one.train.fingerprint
    assert changed.test.fingerprint == one.test.fingerprint
