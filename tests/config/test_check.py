"""A config against every signature, type and range: one message, what is wrong and the nearest right thing."""

import copy
from typing import Any

import pytest

from krona.config import check
from krona.config.compose import compose_job, hydra_session
from krona.config.settings import Run
from krona.messages import KronaError


@pytest.fixture(scope="module")
def configs() -> dict[str, dict[str, Any]]:
    with hydra_session():
        methods = ("krona", "krona_b", "lora", "full", "untuned", "pa", "layer_norm")
        return {name: compose_job([f"method={name}", "logger=wandb"]).config for name in methods}


def checked(config: dict[str, Any], changes: dict[str, Any]) -> Run:
    config = copy.deepcopy(config)
    for path, value in changes.items():
        *parents, key = path.split(".")
        node = config
        for parent in parents:
            node = node[parent]
        node[key] = value
    return check.settings(config, own=True)


def test_a_good_config_becomes_typed_settings(configs: dict[str, Any]) -> None:
    run = checked(configs["krona"], {})
    assert (run.method.branch, run.optimizer.lr) == ("krona.methods.kronecker.Kronecker", 2e-3)
    assert run.method.branch_config == {"kron_factors": [[32, 24], [24, 32]], "scaling": 1.0}
    assert run.method.placement["target_modules"] == ["q", "v"]
    assert run.optimizer.arguments == {"weight_decay": 0.0}
    assert run.trackers["wandb"]["project"] == "krona"
    assert run.config == configs["krona"]


UNKNOWN = [
    ("typo", "typo is no setting"),
    ("sede", "sede is no setting: did you mean 'seed'"),
    ("batchsize", "batchsize is no setting: did you mean 'batch_size'"),
    ("method.scalling", "method.scalling: the method krona has no scalling: did you mean 'scaling'"),
    ("method.rank", "method.rank: the method krona has no rank"),
    ("method.target_module", "did you mean 'target_modules'"),
    ("optimizer.learning_rate", "optimizer.learning_rate is no setting"),
    ("optimizer.warmup_step", "did you mean 'warmup_steps'"),
    ("optimizer.weight_decays", "did you mean 'weight_decay'"),
    ("trainer.max_epoch", "trainer.max_epoch is no setting: did you mean 'max_epochs'"),
    ("backbone.pth", "backbone.pth is no setting: did you mean 'path'"),
    ("data.train_row", "data.train_row is no setting: did you mean 'train_rows'"),
    ("task.colums", "unknown key 'colums': did you mean 'columns'"),
    ("task.tsv.folders", "unknown key 'folders': did you mean 'folder'"),
    ("logger.wandb.projekt", "logger.wandb.projekt is no setting: did you mean 'project'"),
    ("logger.typo", "logger.typo"),
]


@pytest.mark.parametrize(("path", "message"), UNKNOWN)
def test_an_unknown_key_is_named_with_the_nearest(path: str, message: str, configs: dict[str, Any]) -> None:
    with pytest.raises(KronaError) as caught:
        checked(configs["krona"], {path: 3})
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("method", "key"),
    [("full", "rank"), ("full", "kron_factors"), ("untuned", "scaling"), ("lora", "kron_factors"), ("pa", "rank"),
     ("full", "target_modules"), ("layer_norm", "placement")],
)  # fmt: skip
def test_a_key_of_another_method_is_refused(method: str, key: str, configs: dict[str, Any]) -> None:
    with pytest.raises(KronaError, match=rf"method\.{key}: the method {method} has no {key}"):
        checked(configs[method], {f"method.{key}": 1})


WRONG = [
    ("optimizer.lr", "abc", "a number"),
    ("optimizer.lr", None, "a number"),
    ("optimizer.lr", True, "a number"),
    ("optimizer.lr", -1e-3, "at least 0"),
    ("optimizer.lr", float("nan"), "at least 0"),
    ("optimizer.lr", float("inf"), "at least 0"),
    ("optimizer.warmup_steps", -1, "at least 0"),
    ("optimizer.warmup_steps", 1.5, "a whole number"),
    ("optimizer.gradient_clip", "none", "a number or null"),
    ("optimizer.weight_decay", "x", "a number"),
    ("seed", -1, "from 0 to 4294967295"),
    ("seed", 2**32, "from 0 to 4294967295"),
    ("seed", False, "a whole number"),
    ("seed", "0", "a whole number"),
    ("seed", None, "a whole number"),
    ("batch_size", 0, "at least 1"),
    ("batch_size", True, "a whole number"),
    ("batch_size", 10.5, "a whole number"),
    ("batch_size", [1, 2], "a whole number"),
    ("micro_batch_size", 0, "at least 1"),
    ("micro_batch_size", False, "a whole number or null"),
    ("max_source_length", 1, "at least 2"),
    ("keep", "everything", "adapter or all"),
    ("overwrite", 1, "true or false"),
    ("overwrite", "yes", "true or false"),
    ("retry", "all", "failed or null"),
    ("sweep", 3, "a text or null"),
    ("trainer.max_epochs", -1, "at least 0"),
    ("trainer.max_epochs", 2.0, "a whole number"),
    ("trainer.max_steps", -2, "at least -1"),
    ("trainer.patience", 0, "at least 1"),
    ("trainer.precision", 16, "32-true or bf16-mixed or bf16-true or bf16-frozen"),
    ("trainer.precision", "16-mixed", "32-true or bf16-mixed or bf16-true or bf16-frozen"),
    ("trainer.accelerator", "tpuu", "auto or cpu or gpu or cuda or mps"),
    ("trainer.threads", 0, "from 1 to 1024"),
    ("trainer.eval_batch_size", 0, "at least 1"),
    ("data.kind", "web", "hub or tsv or sample"),
    ("data.protocol", "table2", "table1 or appendix_d1"),
    ("data.train_rows", 0, "at least 1"),
    ("data.train_rows", "half", "a whole number or null"),
    ("data.skip_bad_rows", "true", "true or false"),
    ("data.path", 3, "a text or null"),
    ("backbone.pretrained", "no", "true or false"),
    ("backbone.sizes", "large", "keys and values or null"),
    ("method.scaling", "abc", "a number"),
    ("method.scaling", True, "a number"),
    ("method.kron_factors", "abc", "a list"),
    ("method.kron_factors", [32, 24], "a list"),
    ("method.kron_factors", [["32", 24]], "a list"),
    ("method.kron_factors", [[32.5, 24]], "a list"),
    ("method.target_modules", "q", "a list"),
    ("method.train_layer_norms", "yes", "true or false"),
    ("method.modules_per_target", 1.5, "a whole number"),
    ("method.placement", "above", "parallel"),
    ("method.fit_factors", "roughly", "exact or nearest"),
    ("method.name", 3, "a text"),
    ("logger.wandb.table_rows", "many", "a whole number"),
]


@pytest.mark.parametrize(("path", "value", "expected"), WRONG)
def test_a_wrong_type_or_range_is_named(path: str, value: Any, expected: str, configs: dict[str, Any]) -> None:
    with pytest.raises(KronaError) as caught:
        checked(configs["krona"], {path: value})
    message = str(caught.value)
    assert f"{path}={value!r}" in message
    assert expected in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("part", ["method", "task", "backbone", "data", "optimizer", "trainer", "logger"])
@pytest.mark.parametrize("value", [None, 3, "abc", []])
def test_a_group_that_is_no_group(part: str, value: Any, configs: dict[str, Any]) -> None:
    with pytest.raises(KronaError, match=f"{part}="):
        checked(configs["krona"], {part: value})


@pytest.mark.parametrize("path", [
    "method", "task", "backbone", "data", "optimizer", "trainer", "seed", "batch_size", "max_source_length",
    "method.name", "method.target_modules", "method.kron_factors", "optimizer.lr", "optimizer.warmup_steps",
    "trainer.max_epochs", "data.kind", "backbone.name", "task.columns", "task.labels",
])  # fmt: skip
def test_what_is_missing_is_named(path: str, configs: dict[str, Any]) -> None:
    config = copy.deepcopy(configs["krona"])
    *parents, key = path.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    del node[key]
    with pytest.raises(KronaError, match=key):
        check.settings(config)


@pytest.mark.parametrize(
    ("target", "message"),
    [("krona.methods.nothing.Nothing", "can't be imported"), ("nothing", "can't be imported"), (3, "can't be imported"),
     ("krona.methods.lora", "is a module, not a class")],
)  # fmt: skip
@pytest.mark.parametrize("where", ["method", "optimizer"])
def test_a_target_that_is_none(where: str, target: Any, message: str, configs: dict[str, Any]) -> None:
    with pytest.raises(KronaError, match=rf"{where}\._target_=.*{message}"):
        checked(configs["lora"], {f"{where}._target_": target})


def test_all_that_is_wrong_is_said_at_once(configs: dict[str, Any]) -> None:
    changes = {"seed": -1, "typo": 1, "method.rank": 2, "optimizer.lr": "x", "trainer.devices": None, "task.typo": 3}
    with pytest.raises(KronaError) as caught:
        checked(configs["krona"], changes)
    assert len(str(caught.value).splitlines()) == 6
    assert all(path in str(caught.value) for path in changes if path != "task.typo")


def test_a_part_of_a_batch_is_no_larger_than_the_batch(configs: dict[str, Any]) -> None:
    assert checked(configs["krona"], {"batch_size": 8, "micro_batch_size": 8}).micro_batch_size == 8
    with pytest.raises(KronaError, match="micro_batch_size=9 is larger than batch_size=8"):
        checked(configs["krona"], {"batch_size": 8, "micro_batch_size": 9})
