import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from krona.backbones import weights_source
from krona.config.settings import Backbone
from krona.runs.run_id import as_text, flatten, run_id
from nested import with_values

CONFIG: dict[str, Any] = {
    "method": {"name": "krona", "kron_factors": [[32, 24], [24, 32]], "scaling": 1.0, "source": "Table 16"},
    "task": {"name": "rte", "labels": {"entailment": 0, "not_entailment": 1}},
    "backbone": {"name": "google-t5/t5-base", "path": None},
    "data": {"kind": "hub", "path": None, "train_rows": None},
    "optimizer": {"lr": 2e-3, "warmup_steps": 500},
    "trainer": {"max_epochs": 20, "precision": "32-true", "devices": 1},
    "logger": {},
    "batch_size": 100,
    "seed": 0,
    "keep": "adapter",
}
IGNORED = [
    "keep", "logger", "min_score", "overwrite", "retry", "sweep", "backbone.path", "backbone.tokenizer", "data.path",
    "method.label", "method.order", "method.source", "task.files", "trainer.accelerator", "trainer.benchmark",
    "trainer.detect_anomaly",
    "trainer.deterministic", "trainer.devices", "trainer.enable_model_summary", "trainer.enable_progress_bar",
    "trainer.eval_batch_size", "trainer.gradient_checkpointing", "trainer.log_every_n_steps",
    "trainer.num_sanity_val_steps", "trainer.num_workers", "trainer.profiler",
    "trainer.strategy", "trainer.threads",
]  # fmt: skip
OBSERVER = {"_target_": "pytorch_lightning.callbacks.LearningRateMonitor", "logging_interval": "step"}


def identity(config: Any = CONFIG, *, data: str = "d", backbone: str = "b") -> str:
    return run_id(config, data_fingerprint=data, backbone_fingerprint=backbone)


def changed(path: str, value: Any) -> dict[str, Any]:
    return with_values(CONFIG, {path: value})


def test_readable_words_then_a_hash() -> None:
    assert identity().startswith("krona-rte-t5_base-32x24-s0-")
    assert len(identity().rsplit("-", 1)[1]) == 10
    assert identity(changed("method.kron_factors", [[3, 256]])).startswith("krona-rte-t5_base-3x256-s0-")
    assert identity(changed("method.name", "x" * 50)).startswith(f"{'x' * 40}-rte-")


def test_the_id_of_earlier_versions() -> None:
    labels = ["ja", "nein", "vielleicht ☂"]
    assert identity({"seed": 0, "task": {"name": "é", "labels": labels}}) == "_-s0-59ac497095"


def test_values_as_the_command_line_writes_them() -> None:
    value = {"a": {"b": [[32, 24], [24, 32]]}, "c": {}, "d": [1, "x", [2]], "e": [], "f": "text", "g": None, "h": 1e-3}
    texts = [("a.b", "32x24"), ("c", "{}"), ("d", "1,x,2"), ("e", ""), ("f", "text"), ("g", "null"), ("h", "0.001")]
    assert [(key, as_text(item)) for key, item in flatten(value)] == texts
    assert [as_text([[1, 2, 3]]), as_text([[1], [2]])] == ["1,2,3", "1,2"]  # not shapes, which are pairs of numbers


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("batch_size", 100.0),
        ("method.scaling", 1),
        ("optimizer.lr", 0.002),
        ("method.kron_factors", ((32.0, 24), (24, 32))),
        ("data.quoting", None),  # an option that is off is not part of the id
        ("trainer.bucket_by_length", False),
        ("data.subset_seed", None),
        ("trainer.compile", False),
        ("trainer.limit_train_batches", 1.0),
        ("trainer.accumulate_grad_batches", 1),
        ("optimizer.lr_factors", {}),
        ("method.alpha", None),
        ("method.rank_stabilised", False),
        ("method.dropout", 0.0),
        ("trainer.fast_dev_run", False),
        ("scheduler", {"_target_": "transformers.get_linear_schedule_with_warmup"}),
        ("backbone.architecture", None),
        ("backbone.pooling", None),
        ("init_from", None),
        ("callbacks", {"monitor": OBSERVER}),
        *((path, "something else") for path in IGNORED),
    ],
)
def test_equal_configs_have_one_id(path: str, value: Any) -> None:
    assert identity(changed(path, value)) == identity()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 1),
        ("optimizer.lr", 2.0001e-3),
        ("optimizer.warmup_steps", 501),
        ("method.kron_factors", [[24, 32], [32, 24]]),
        ("data.train_rows", 100),
        ("data.quoting", "csv"),
        ("trainer.precision", "bf16-mixed"),
        ("trainer.max_epochs", 19),
        ("trainer.compile", True),
        ("trainer.limit_train_batches", 1),  # the integer 1 means one batch
        ("trainer.fast_dev_run", True),
        ("callbacks", {"monitor": OBSERVER, "stop": {"_target_": "pytorch_lightning.callbacks.EarlyStopping"}}),
        ("method.callbacks", {"monitor": OBSERVER}),
        ("trainer.bucket_by_length", None),
        ("micro_batch_size", 10),
        ("typo", 3),
        ("method.typo", None),
        ("trainer.typo.deeper", []),
        ("data.keep", "all"),  # a key of the list, but in another group
    ],
)
def test_all_other_keys_count_unknown_ones_too(path: str, value: Any) -> None:
    assert identity(changed(path, value)) != identity()


def test_data_and_backbone_count() -> None:
    assert len({identity(), identity(data="e"), identity(backbone="c"), identity(data="b", backbone="d")}) == 4


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=12,
)


@hypothesis(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(st.dictionaries(st.sampled_from(["method", "task", "backbone", "seed", "x/y", ".."]), anything))
def test_every_config_has_an_id_that_is_a_folder_name(config: Any) -> None:
    name = identity(config)
    assert "/" not in name
    assert name not in (".", "..")
    assert len(name.encode()) < 250


def test_a_backbone_is_identified_by_its_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    (one / "config.json").write_text("{}")
    (one / "model.safetensors").write_bytes(b"weights")
    (one / "tokenizer.json").write_text("{}")
    shutil.copytree(one, two)

    def fingerprint(folder: Path) -> str:
        return weights_source.fingerprint(Backbone(name="local", path=str(folder)))

    mark = fingerprint(one)
    assert fingerprint(two) == mark
    (one / "model.safetensors").write_bytes(b"Weights")
    os.utime(one / "model.safetensors", (1, 1))
    assert fingerprint(one) != mark
    (two / "tokenizer.json").write_text("[]")
    assert fingerprint(two) != mark
    assert "absent" in fingerprint(tmp_path / "nowhere")


def test_random_weights_are_identified_by_their_sizes_and_tokenizer(tmp_path: Path) -> None:
    backbones = [
        Backbone(name="t5", sizes={"d_model": 8}),
        Backbone(name="t5", sizes={"d_model": 8}, revision="v2"),
        Backbone(name="t5", sizes={"d_model": 8}, pretrained=False),
        Backbone(name="t5", sizes={"d_model": 9}, pretrained=False),
        Backbone(name="t5", sizes={"d_model": 8}, pretrained=False, tokenizer=str(tmp_path)),
    ]
    assert len({weights_source.fingerprint(backbone) for backbone in backbones}) == 5
