"""Test the check of a config: unknown and missing keys, wrong types, ranges and classes, each with one message."""

import math
from typing import Any

import pytest

from krona import KronaError
from nested import with_values
from typed_config import check, compose, refusal, settings


@pytest.fixture(scope="module")
def configs() -> dict[str, dict[str, Any]]:
    methods = ("krona", "lora", "full", "untuned", "pa", "layer_norm")
    return {name: compose(f"method={name}", "logger=wandb").config for name in methods}


def changed(values: dict[str, Any], changes: dict[str, Any]) -> str:
    """Return the error message for a config with changes."""
    with pytest.raises(KronaError) as caught:
        check(with_values(values, changes))
    return str(caught.value)


def test_a_good_config_becomes_typed_settings(configs: dict[str, Any]) -> None:
    run = check(configs["krona"])
    assert (run.method.branch, run.optimizer.lr) == ("krona.methods.kronecker.Kronecker", 2e-3)
    assert run.method.branch_config == {"kron_factors": [[32, 24], [24, 32]], "scaling": 1.0}
    assert run.method.placement["target_modules"] == ["q", "v"]
    assert run.optimizer.arguments == {"weight_decay": 0.0}
    assert run.logger["wandb"]["project"] == "krona"
    assert run.config == configs["krona"]


def scale(*typed: str) -> Any:
    return settings(*typed).method.branch_config["scaling"]


def test_alpha_sets_the_scale_of_a_branch_with_a_rank() -> None:
    assert scale("method=lora", "method.rank=4", "++method.alpha=16") == 4.0
    assert scale("method=lora", "method.rank=4", "++method.alpha=16", "++method.rank_stabilised=true") == 8.0
    assert scale("method=rslora") == 8 / math.sqrt(8)
    assert scale("method=lora", "method.rank=8", "++method.alpha=1") == 1 / 8
    method = settings("method=lokr", "++method.alpha=3").method
    assert (method.alpha, method.branch_config["alpha"]) == (None, 3), "LoKr has its own alpha"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["method=lora", "++method.alpha=16", "method.scaling=2"],
         "method.alpha=16 and method.scaling=2 both set the scale"),
        (["method=lora", "++method.alpha=0"], "method.alpha=0 must be greater than 0"),
        (["method=lora", "++method.rank_stabilised=true"], "method.rank_stabilised=true needs method.alpha"),
        (["method=krona", "++method.alpha=3"],
         "method.alpha=3 needs a branch with the arguments rank and scaling. Kronecker"),
        (["method=full", "++method.alpha=3"],
         "method.alpha=3 needs a branch with the arguments rank and scaling. This method"),
        (["method=lora", "++method.dropout=1"], "method.dropout=1 must be less than 1"),
    ],
)  # fmt: skip
def test_a_wrong_alpha_or_dropout_is_one_message(typed: list[str], message: str) -> None:
    told = refusal(*typed)
    assert told.startswith(message)
    assert "\n" not in told


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("typo", "choose from backbone"),
        ("sede", "did you mean 'seed'"),
        ("method.rank", "choose from alpha, bias"),
        ("lr", "did you mean 'optimizer.lr'"),
        ("optimizer.weight_decays", "did you mean 'weight_decay'"),
        ("task.tsv.folders", "did you mean 'folder'"),
        ("logger.wandb.projekt", "did you mean 'project'"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(path: str, suggestion: str, configs: dict[str, Any]) -> None:
    message = changed(configs["krona"], {path: 3})
    assert path.removeprefix("task.").split(".")[-1] in message
    assert suggestion in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("method", "key"),
    [("full", "rank"), ("lora", "kron_factors"), ("lora", "d_in"), ("layer_norm", "placement")],
)  # fmt: skip
def test_a_key_of_another_method_is_refused(method: str, key: str, configs: dict[str, Any]) -> None:
    assert changed(configs[method], {f"method.{key}": 1}).startswith(f"Unknown key method.{key}: ")


GROUPS = ("method", "task", "backbone", "data", "optimizer", "trainer", "logger")
WRONG = {
    "optimizer.lr": ["abc", None, True, -1e-3, float("nan"), float("inf")],
    "optimizer.warmup_steps": [-1, 1.5],
    "optimizer.weight_decay": ["x", float("nan")],
    "seed": [-1, 2**32, False, "0", None],
    "batch_size": [0, True, 10.5, 1e23, [1, 2], 2**31],
    "max_source_length": [1],
    "keep": ["everything"],
    "sweep": [3, "../x"],
    "trainer.max_epochs": [-1, 2.0],
    "trainer.precision": [16, "16-mixed"],
    "trainer.accelerator": ["tpuu"],
    "trainer.devices": [0, "all", None],
    "trainer.limit_train_batches": [1.5, -1, "x"],
    "trainer.threads": [0, 1025],
    "data.kind": ["web"],
    "data.train_rows": [0, "half"],
    "method.scaling": ["abc", True],
    "method.kron_factors": ["abc", [32, 24], [["32", 24]], [[32.5, 24]]],
    "method.target_modules": ["q", [1]],
    "method.modules_per_target": [1.5, 0],
    "method.placement": ["above", ["above"]],
    **{group: [None, 3, "abc", []] for group in GROUPS},
}


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in WRONG.items() for value in values])
def test_a_wrong_type_or_range_is_named(path: str, value: Any, configs: dict[str, Any]) -> None:
    message = changed(configs["krona"], {path: value})
    assert message.startswith(f"{path}={value!r}")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("path", [
    "method", "task", "backbone", "data", "optimizer", "trainer", "seed", "batch_size", "max_source_length",
    "method.name", "method.target_modules", "method.kron_factors", "optimizer.lr", "optimizer.warmup_steps",
    "trainer.max_epochs", "data.kind", "backbone.name", "task.columns", "task.labels",
])  # fmt: skip
def test_a_missing_key_is_named(path: str, configs: dict[str, Any]) -> None:
    assert path.split(".")[-1] in changed(configs["krona"], {path: ...})


def test_all_problems_are_in_one_message(configs: dict[str, Any]) -> None:
    changes = {"seed": -1, "typo": 1, "method.rank": 2, "optimizer.lr": "x", "trainer.devices": None, "task.typo": 3}
    message = changed(configs["krona"], changes)
    assert len(message.splitlines()) == 6
    assert all(path in message for path in changes if path != "task.typo")


def test_a_yaml_without_its_package_is_one_message(configs: dict[str, Any]) -> None:
    whole = configs["lora"]
    wrong = {**whole, "method": {"optimizer": whole["optimizer"], "method": whole["method"]}}
    assert changed(wrong, {}).startswith("Unknown key method.method. Is `# @package _global_` missing")
