"""Test the rows, but not the times, of the benchmark of training."""

import importlib.util
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from benches.bench_runner import compose, run
from benchmarks import contestants, timing
from benchmarks import run as bench_run
from benchmarks.settings import Bench
from krona.messages import KronaError
from tiny_t5 import METHODS, tiny_t5


def test_training(tmp_path: Path) -> None:
    methods = ["full", "untuned", "layer_norm", "lora", "krona"]
    content = run(tmp_path, name="training", methods=methods, options={"shapes": [[4, 8], [8, 8], [3, 256]]})
    rows = {row["name"]: row for row in content["rows"]}
    assert rows.keys() == {
        "floor",
        "floor + layer_norm",
        "floor/library",
        *methods,
        "krona 4x8",
        "krona 8x8",
        "krona 2x32",
    }
    assert rows["floor"]["ratio_to_floor"] == rows["floor/library"]["ratio_to_library_floor"] == 1
    assert rows["full"]["ratio_to_full"] == 1
    assert rows["krona"]["paper"] == 0.75
    assert rows["krona 4x8"]["shape"] == "4x8"
    a1, a2 = map(int, rows["krona"]["shape"].split("x"))
    assert 64 % a1 == 64 % a2 == 0 != 64 % 24  # the YAML's (32, 24) does not fit 64 → 64
    assert rows["floor"]["trainable"] == rows["floor/library"]["trainable"] == rows["untuned"]["trainable"] == 0
    assert rows["floor + layer_norm"]["trainable"] == rows["layer_norm"]["trainable"] > 0
    assert rows["lora"]["with_optimizer_s"] > rows["lora"]["median_s"]


def test_the_floor_has_the_modules_of_the_models_over_it() -> None:
    backbone = tiny_t5().requires_grad_(False)
    ours, library = contestants.with_fast_modules(backbone), contestants.twin(backbone)
    tuned = contestants.with_layer_norms(backbone)
    kinds = [{type(module).__name__ for module in model.modules()} for model in (ours, tuned, library)]
    assert kinds[0] == kinds[1] != kinds[2]
    assert {"RootMeanSquareNorm", "LaneDropout"} <= kinds[0]
    shared = {id(parameter) for parameter in backbone.parameters()}
    assert {id(parameter) for model in (ours, library) for parameter in model.parameters()} == shared


def test_a_method_is_timed_with_the_values_of_its_yaml() -> None:
    listening = Mock(wraps=compose)
    bench_run.build_entrants(Bench(name="training", rounds=1, methods=["krona_b_res"]), listening, METHODS)
    listening.assert_called()
    for call in listening.call_args_list:
        assert "~recipe" in call.args[0]  # the row of the default task has one more bias


def test_types_of_peft_are_timed_only_on_request() -> None:
    names = ["lora", "peft", "peft/oft"]
    assert [one.name for one in bench_run.build_entrants(Bench(name="training", rounds=1), compose, names)] == ["lora"]


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
def test_a_type_of_peft_is_timed_with_and_without_krona(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in run(tmp_path, name="training", methods=["peft/hra", "peft/ia3"])["rows"]}
    for name in ("peft/hra", "peft/ia3"):
        assert rows[name]["trainable"] == rows[f"plain {name}"]["trainable"]
        assert rows[name]["ratio_to_peft_form"] > 0
        assert rows[f"plain {name}"]["ratio_to_peft_form"] is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "training", "methods": ["kronna"]}, r"bench\.methods: 'kronna' is not .*did you mean 'krona'"),
        ({"name": "training", "rounds": 0}, r"bench\.rounds=0 must be"),
        ({"name": "training", "minutes": 0.01}, r"bench\.minutes=0\.01 must be at least 0\.05"),
        ({"name": "training", "options": {"shape": [[2, 2]]}}, r"Unknown key bench\.options\.shape: did you mean"),
    ],
)
def test_wrong_settings_are_refused(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(KronaError, match=message):
        run(tmp_path, **{"methods": ["krona"], **config})
    assert not (tmp_path / "bench").exists()


def test_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(timing, "cpu_count", lambda: 1)
    try:
        content = run(tmp_path, name="training", methods=["lora"])
        assert content["machine"]["threads"] == 1
        with pytest.raises(KronaError, match=r"bench\.threads=2 is too high. This process may use 1 cores"):
            run(tmp_path, name="training", methods=["lora"], threads=2)
    finally:
        torch.set_num_threads(before)
