import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from krona.backbones import source
from krona.config.settings import Backbone
from krona.runs.run_id import NOT_IDENTITY, canonical, run_id
from krona.tasks import data_fingerprint
from tasks import glue_files

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


def identity(config: Any = CONFIG, *, data: str = "d", backbone: str = "b") -> str:
    return run_id(config, data_fingerprint=data, backbone_fingerprint=backbone)


def changed(path: str, value: Any) -> dict[str, Any]:
    config = json.loads(json.dumps(CONFIG))
    *parents, key = path.split(".")
    node = config
    for parent in parents:
        node = node.setdefault(parent, {})
    node[key] = value
    return config


def test_readable_words_then_a_hash() -> None:
    assert identity().startswith("krona-rte-t5_base-32x24-s0-")
    assert len(identity().rsplit("-", 1)[1]) == 10


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("batch_size", 100.0),
        ("method.scaling", 1),
        ("optimizer.lr", 0.002),
        ("method.kron_factors", ((32.0, 24), (24, 32))),
    ],
)
def test_a_number_is_one_however_it_is_written(path: str, value: Any) -> None:
    assert identity(changed(path, value)) == identity()


def test_the_order_of_keys_does_not_count() -> None:
    turned = {key: CONFIG[key] for key in reversed(CONFIG)}
    turned["optimizer"] = dict(reversed(CONFIG["optimizer"].items()))
    assert identity(turned) == identity()


@pytest.mark.parametrize("path", sorted(NOT_IDENTITY))
def test_what_affects_no_result_is_not_identity(path: str) -> None:
    assert identity(changed(path, "something else")) == identity()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 1),
        ("optimizer.lr", 2.0001e-3),
        ("optimizer.warmup_steps", 501),
        ("method.kron_factors", [[24, 32], [32, 24]]),
        ("data.train_rows", 100),
        ("trainer.precision", "bf16-mixed"),
        ("trainer.max_epochs", 19),
        ("micro_batch_size", 10),
        ("typo", 3),
        ("method.typo", None),
        ("trainer.typo.deeper", []),
        ("data.keep", "all"),  # a name of the list, but elsewhere
    ],
)
def test_everything_else_counts_unknown_keys_too(path: str, value: Any) -> None:
    assert identity(changed(path, value)) != identity()


def test_data_and_backbone_count() -> None:
    assert len({identity(), identity(data="e"), identity(backbone="c"), identity(data="b", backbone="d")}) == 4


def test_true_is_not_one_and_a_text_is_no_number() -> None:
    assert len({identity(changed("overfit", value)) for value in (True, 1, "1", "true", None)}) == 5


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=12,
)


@hypothesis(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(["method", "task", "backbone", "seed", "x/y", ".."]), values))
def test_it_is_total_and_gives_a_folder_name(config: Any) -> None:
    name = identity(config)
    assert "/" not in name
    assert name not in (".", "..")
    assert len(name.encode()) < 250


@hypothesis(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(values)
def test_canonical_keeps_its_own_form(value: Any) -> None:
    once = canonical(value)
    assert json.dumps(canonical(once)) == json.dumps(once)


def test_nan_and_infinity_are_told_apart() -> None:
    assert len({identity(changed("x", value)) for value in (math.nan, math.inf, -math.inf, "nan?")}) == 4


def test_data_is_its_content_not_its_place(tmp_path: Path) -> None:
    rte = glue_files.task("rte")
    for name in ("one", "two"):
        glue_files.write(tmp_path / name, "rte")
    first, second = (data_fingerprint(rte, kind="tsv", path=str(tmp_path / name)) for name in ("one", "two"))
    assert first == second
    with (tmp_path / "two" / "RTE" / "dev.tsv").open("a") as file:
        file.write("99\ta\tb\tentailment\n")
    assert data_fingerprint(rte, kind="tsv", path=str(tmp_path / "two")) != first
    assert data_fingerprint(rte, kind="tsv", path=str(tmp_path / "nowhere")) == "tsv:absent"


def test_a_backbone_is_its_content_not_its_place(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    (one / "config.json").write_text("{}")
    (one / "model.safetensors").write_bytes(b"weights")
    (one / "tokenizer.json").write_text("{}")
    shutil.copytree(one, tmp_path / "two")
    mark = source.fingerprint(Backbone(name="local", path=str(one)))
    assert source.fingerprint(Backbone(name="local", path=str(tmp_path / "two"))) == mark
    (one / "model.safetensors").write_bytes(b"Weights")
    os.utime(one / "model.safetensors", (1, 1))
    assert source.fingerprint(Backbone(name="local", path=str(one))) != mark
    (tmp_path / "two" / "tokenizer.json").write_text("[]")
    assert source.fingerprint(Backbone(name="local", path=str(tmp_path / "two"))) != mark
    assert "absent" in source.fingerprint(Backbone(name="local", path=str(tmp_path / "nowhere")))


def test_random_weights_are_their_sizes_and_their_tokenizer(tmp_path: Path) -> None:
    sizes = {"d_model": 8}
    marks = {
        source.fingerprint(Backbone(name="t5", sizes=sizes)),
        source.fingerprint(Backbone(name="t5", sizes=sizes, revision="v2")),
        source.fingerprint(Backbone(name="t5", sizes=sizes, pretrained=False)),
        source.fingerprint(Backbone(name="t5", sizes={"d_model": 9}, pretrained=False)),
        source.fingerprint(Backbone(name="t5", sizes=sizes, pretrained=False, tokenizer=str(tmp_path))),
    }
    assert len(marks) == 5


def test_a_switch_that_is_off_is_absent() -> None:
    assert identity(changed("data.quoting", None)) == identity() != identity(changed("data.quoting", "csv"))
    assert identity(changed("trainer.bucket_by_length", False)) == identity()
    assert identity(changed("trainer.compile", False)) == identity() != identity(changed("trainer.compile", True))
    assert identity(changed("trainer.bucket_by_length", None)) != identity()
