"""Compute run ids. The run id is the name of the run's folder.

A run id has a readable part and a hash of everything that affects the result: the config, the data, the backbone and
the user's own classes. The time, the version of krona, the machine and the paths do not change the run id, and are
recorded in the result. This module lists the config keys that are not part of the hash. All other keys are part of the
hash, so that a run with a new key never gets the id of an existing run.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from krona.methods.factor_shapes import shape_name

PATH_KEYS = ("backbone.path", "backbone.tokenizer", "data.path")  # the hash contains fingerprints of their contents
NOT_IDENTITY = frozenset(
    {
        *PATH_KEYS,
        "keep",
        "logger",
        "min_score",
        "overwrite",
        "retry",
        "sweep",
        "method.label",
        "method.order",
        "method.source",
        "task.files",
        "task.max_steps",  # the default of trainer.max_steps
        "task.skip_bad_rows",  # the default of data.skip_bad_rows
        "task.slices",
        "trainer.accelerator",
        "trainer.benchmark",
        "trainer.detect_anomaly",
        "trainer.deterministic",
        "trainer.devices",
        "trainer.enable_model_summary",
        "trainer.enable_progress_bar",
        "trainer.eval_batch_size",
        "trainer.gradient_checkpointing",
        "trainer.log_every_n_steps",
        "trainer.num_sanity_val_steps",
        "trainer.num_workers",
        "trainer.profiler",
        "trainer.strategy",
        "trainer.threads",
    }
)

# Keys that were added after the first runs. The listed value has the same effect as a missing key. A key with this
# value is not part of the hash, so that the ids of old runs stay valid.
OFF_IS_ABSENT: dict[str, Any] = {
    "trainer.bucket_by_length": False,
    "trainer.compile": False,
    "trainer.limit_train_batches": 1.0,  # the integer 1 means one batch
    "trainer.accumulate_grad_batches": 1,
    "trainer.fast_dev_run": False,
    "optimizer.lr_factors": {},
    "method.alpha": None,
    "method.rank_stabilised": False,
    "method.dropout": 0.0,
    "scheduler": {"_target_": "transformers.get_linear_schedule_with_warmup"},
    "data.quoting": None,
    "data.subset_seed": None,
    "data.dev_from_train": None,
    "data.test_from_train": None,
    "task.class_weights": None,
    "task.kind": None,
    "task.label_separator": ",",
    "backbone.architecture": None,
    "backbone.pooling": None,
    "backbone.quantisation": None,
    "init_from": None,
}

# Lightning's callbacks that only observe a run and are not part of the hash. Any other callback may change the result.
OBSERVERS = frozenset(
    f"pytorch_lightning.callbacks.{name}"
    for name in ("DeviceStatsMonitor", "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "RichModelSummary",
                 "RichProgressBar", "TQDMProgressBar")
)  # fmt: skip


def run_id(
    config: Mapping[str, Any],
    *,
    data_fingerprint: str,
    backbone_fingerprint: str,
    own_code: Mapping[str, str] | None = None,
) -> str:
    """Return a run id such as ``krona-rte-t5_base-32x24-s0-1f3a5c7e9b``.

    Configs with equal values have the same id, even if the values are written differently, such as 1, 1.0 and 1e0.
    ``own_code`` maps the user's modules to their hashes (`krona.runs.provenance.own_code`).
    """
    counted = {"config": canonical(config), "data": data_fingerprint, "backbone": backbone_fingerprint}
    counted |= {"code": dict(own_code)} if own_code else {}
    text = json.dumps(counted, sort_keys=True, ensure_ascii=True)
    digest = hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
    groups = [config.get(group) for group in ("method", "task", "backbone")]
    words = [group.get("name") if isinstance(group, Mapping) else None for group in groups]
    factors = canonical(groups[0].get("kron_factors")) if isinstance(groups[0], Mapping) else None
    if isinstance(factors, list) and factors and isinstance(factors[0], list):
        words.append(shape_name(factors[0]))
    words.append(f"s{canonical(config.get('seed'))}")
    readable = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", str(word).rsplit("/", 1)[-1])[:40] for word in words if word)
    return f"{readable}-{digest}"


def canonical(value: object, path: str = "") -> Any:
    """Return the canonical form of a config value for the hash. ``path`` is the dotted key of the value.

    Keys that are not part of the run id are removed. Equal numbers, such as 1, 1.0 and 1e0, have the same form.
    """
    if isinstance(value, Mapping):
        places = {key: f"{path}.{key}" if path else str(key) for key in value}
        return {str(key): canonical(item, places[key]) for key, item in value.items() if _counts(places[key], item)}
    if isinstance(value, list | tuple):
        return [canonical(item, path) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value
    return value if value is None or isinstance(value, str | int) else repr(value)


def _counts(path: str, value: object) -> bool:
    """Return whether the config value at a dotted key is part of the run id."""
    if path in NOT_IDENTITY:
        return False
    if path in OFF_IS_ABSENT:
        off = OFF_IS_ABSENT[path]
        return not (type(value) is type(off) and value == off)
    if path == "callbacks" and isinstance(value, Mapping):
        return any(_counts(f"callbacks.{name}", callback) for name, callback in value.items())
    is_callback = path.startswith("callbacks.")
    return not (is_callback and isinstance(value, Mapping) and value.get("_target_") in OBSERVERS)


def find_value(config: object, key: str) -> Any:
    """Return the value of a dotted key, or None if the config does not have the key."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config


def flatten(value: object, path: str = "", *, separator: str = ".") -> Iterable[tuple[str, Any]]:
    """Yield the key, such as ``method.name``, and the value of each leaf. Empty mappings are leaves."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flatten(item, f"{path}{separator}{key}" if path else str(key), separator=separator)
    else:
        yield path, value


def as_text(value: object) -> str:
    """Return a config value as text for an override. For a list of factor shapes, return only the first shape."""
    if isinstance(value, list) and value and all(isinstance(item, list) and len(item) == 2 for item in value):
        return shape_name(value[0])  # the shape of B follows from the shapes of A and of the layer
    if isinstance(value, list):
        return ",".join(as_text(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)
