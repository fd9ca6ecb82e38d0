"""Each bench on a tiny model through the door of bench.py: rows and files, never times."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from krona.bench import contestants, entry, kronecker, latency
from krona.bench.launches import launches
from krona.bench.settings import Bench
from krona.errors import KronaError
from tiny_t5 import METHODS, method_values

SIZES = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4, "vocab_size": 700}
PROJECT = Path(__file__).parents[2]


def compose(overrides: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {"backbone": {"sizes": SIZES}}
    for override in overrides:
        key, value = override.split("=", 1)
        if key == "method":
            values["method"] = method_values(value)
        elif key == "method.kron_factors":
            values["method"] |= {"kron_factors": json.loads(value), "fit_factors": "exact"}
    return values


def run(tmp_path: Path, **config: Any) -> dict[str, Any]:
    whole = {"rounds": 3, "warm_up": 0, "minutes": 1.0, "load": "mark", "batch_size": 2, "length": 6, "peft": False}
    file = entry.run_bench(
        whole | {"options": {}} | config,
        compose=compose,
        methods=METHODS,
        outputs=tmp_path,
        project=PROJECT,
        console=Console(quiet=True),
    )
    assert {path.suffix for path in (tmp_path / "bench").iterdir()} == {".json", ".png", ".svg"}
    content: dict[str, Any] = json.loads(file.read_text())
    assert content.keys() == {"name", "rows", "machine", "settings"}
    assert {"processor", "cores", "threads", "torch"} <= content["machine"].keys()
    assert all({"name", "shape", "median_s", "spread", "ratio_to_full"} <= row.keys() for row in content["rows"])
    return content


def test_training(tmp_path: Path) -> None:
    methods = ["full", "untuned", "layer_norm", "lora", "krona"]
    content = run(tmp_path, name="training", methods=methods, options={"shapes": [[4, 8], [8, 8]]})
    names = [row["name"] for row in content["rows"]]
    assert names[:3] == ["floor", "floor/quick", "floor + layer_norm"]
    assert set(names[3:]) == {*methods, "krona 4x8", "krona 8x8"}
    rows = {row["name"]: row for row in content["rows"]}
    assert rows["floor"]["ratio_to_floor"] == 1
    assert rows["full"]["ratio_to_full"] == 1
    assert rows["krona"]["paper"] == 0.75
    assert rows["krona 4x8"]["shape"] == "4x8"
    assert rows["floor"]["trainable"] == rows["untuned"]["trainable"] == 0
    assert rows["lora"]["with_optimizer_s"] > rows["lora"]["median_s"]


def test_every_method_of_conf_takes_part() -> None:
    bench = Bench(name="training", rounds=1)
    assert [entrant.name for entrant in entry.entrants_of(bench, compose, METHODS)] == METHODS


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
def test_peft_is_in_the_same_run(tmp_path: Path) -> None:
    content = run(tmp_path, name="training", methods=["lora"], peft=True)
    rows = {row["name"]: row for row in content["rows"]}
    assert {"peft/lora", "peft/lokr"} <= rows.keys()
    assert rows["peft/lora"]["trainable"] == rows["lora"]["trainable"]  # its LayerNorms train too
    assert rows["peft/lora"]["ratio_to_peft_lora"] == 1


def test_peft_not_installed_leaves_its_rows_out_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said: list[str] = []
    entry._say_where_no_peft(said.append)
    assert said == ["peft is not installed: its rows are left out (pip install peft)"]
    assert contestants.peft_twins(torch.nn.Linear(1, 1)) == {}


def test_latency(tmp_path: Path) -> None:
    options = {"source": 5, "decoder": 4, "large_rounds": 1}
    content = run(tmp_path, name="latency", methods=["full", "lora", "krona", "pa", "krona_b"], options=options)
    rows = {(row["name"], row["batch_size"]): row for row in content["rows"]}
    assert rows["backbone", 1]["ratio_to_backbone"] == 1
    assert rows["krona", 1]["form"] == rows["lora", 1]["form"] == "merged"
    assert rows["krona", 1]["launches_added"] == rows["full", 1]["launches_added"] == 0
    assert rows["pa", 1]["form"] == "prepared"
    assert rows["pa", 1]["launches_added"] == 0 < rows["pa/plain", 1]["launches_added"]
    assert rows["krona_b", 2]["launches_added"] < rows["krona_b/plain", 2]["launches_added"]
    assert len(rows["pa", 1]["repeats"]) == 3


def test_kronecker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kronecker, "layers_of", lambda **_: [("paper", 12, 12, (3, 4)), ("oblong", 12, 24, (4, 4))])
    options = {"shapes": [], "more_shapes": 0, "oblong_shapes": 0, "rows": [70]}
    content = run(tmp_path, name="kronecker", methods=["krona"], options=options)
    planned = [row for row in content["rows"] if row["name"] == "krona"]
    assert [row["d_out"] for row in planned] == [12, 24]
    assert all(row["planned"] and row["best"] and row["ratio_to_best"] for row in planned)


def test_kronecker_layers_are_the_paper_s_and_seeded_ones() -> None:
    paper = [(32, 24), (2, 384)]
    layers = kronecker.layers_of(paper=paper, square=20, oblong=10, seed=0)
    assert layers == kronecker.layers_of(paper=paper, square=20, oblong=10, seed=0)
    assert [kind for kind, *_ in layers].count("square") == 20
    assert sum(d_in != d_out for _, d_in, d_out, _ in layers) == 10
    assert all(d_in % a1 == 0 and d_out % a2 == 0 for _, d_in, d_out, (a1, a2) in layers)
    assert len(set(layers)) == 32


def test_a_method_that_does_not_exist_and_a_bench_that_does_not() -> None:
    with pytest.raises(KronaError, match=r"bench\.methods: no method 'kronna' in conf/method"):
        run(Path(), name="training", methods=["kronna"])
    with pytest.raises(KronaError, match=r"bench\.name=speed"):
        run(Path(), name="speed")
    with pytest.raises(KronaError, match=r"bench\.rounds=0"):
        run(Path(), name="training", rounds=0)


def test_views_are_no_launches() -> None:
    x = torch.randn(4, 6)
    assert launches(lambda: x.view(2, 12).transpose(0, 1)[None].squeeze(0)).total() == 0
    assert launches(lambda: torch.relu(x @ x.T)) == {"mm": 1, "relu": 1}


def test_one_constant_for_table_2() -> None:
    added = {"pa": 115, "adapter": 460}
    rows = [
        {"name": f"{name}/plain", "form": "plain", "batch_size": 1, "launches_added": count}
        for name, count in added.items()
    ]
    found = latency.constant_that_explains(rows, {"pa": 110.0, "adapter": 140.0, "lora": 100.0})
    assert found == (pytest.approx(1150), pytest.approx(0, abs=1e-9))
    assert latency.constant_that_explains([], {}) is None


def test_targets_are_of_the_protocol_s_length() -> None:
    batch = contestants.random_batch(rows=3, length=5, vocabulary=700, seed=0)
    assert [(row != -100).sum().item() for row in batch["labels"]] == [2, 3, 2]
    assert batch["input_ids"].shape == (3, 5)
