"""Run ids: the name of a run's folder.

An id has a readable part and a hash of everything that affects the result: the config, and the content of the data and
the backbone. Time, code, machine and paths are not part of it: those are provenance. The keys that are left out are
listed here by name; all others count, so that an unknown key never collides with a good run.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from krona.methods.factor_shapes import shape_name

NOT_IDENTITY = frozenset(
    {
        "keep",
        "logger",
        "overwrite",
        "retry",
        "sweep",
        "backbone.path",  # the fingerprint of its content counts instead
        "backbone.tokenizer",
        "data.path",
        "method.source",
        "task.files",
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
        "trainer.measure_forgetting",
        "trainer.num_sanity_val_steps",
        "trainer.num_workers",
        "trainer.profiler",
        "trainer.strategy",
        "trainer.threads",
    }
)

# added after the first runs: with these values a run is the same as before they existed
OFF_IS_ABSENT: dict[str, Any] = {
    "trainer.bucket_by_length": False,
    "trainer.compile": False,
    "trainer.limit_train_batches": 1.0,  # 1 would be one batch
    "trainer.accumulate_grad_batches": 1,
    "trainer.fast_dev_run": False,
    "scheduler": {"_target_": "transformers.get_linear_schedule_with_warmup"},
    "data.quoting": None,
    "data.subset_seed": None,
    "backbone.architecture": None,
    "backbone.pooling": None,
    "init_from": None,
}

# Lightning's callbacks that only observe a run; any other may change its result
OBSERVERS = frozenset(
    f"pytorch_lightning.callbacks.{name}"
    for name in ("DeviceStatsMonitor", "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "RichModelSummary",
                 "RichProgressBar", "TQDMProgressBar")
)  # fmt: skip


def run_id(config: Mapping[str, Any], *, data_fingerprint: str, backbone_fingerprint: str) -> str:
    """Return an id such as ``krona-rte-t5_base-32x24-s0-1f3a5c7e9b``, the same however equal values are written."""
    counted = {"config": canonical(config), "data": data_fingerprint, "backbone": backbone_fingerprint}
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


def canonical(value: Any, path: str = "") -> Any:
    """Return the value without keys that do not identify a run, and with 1, 1.0 and 1e0 in one form."""
    if isinstance(value, Mapping):
        places = {key: f"{path}.{key}" if path else str(key) for key in value}
        return {str(key): canonical(item, places[key]) for key, item in value.items() if _counts(places[key], item)}
    if isinstance(value, list | tuple):
        return [canonical(item, path) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value
    return value if value is None or isinstance(value, str | int) else repr(value)


def _counts(path: str, value: Any) -> bool:
    """Return whether a value of a config, at a dotted path, identifies the run."""
    if path in NOT_IDENTITY:
        return False
    if path in OFF_IS_ABSENT:
        off = OFF_IS_ABSENT[path]
        return not (type(value) is type(off) and value == off)
    if path == "callbacks" and isinstance(value, Mapping):
        return any(_counts(f"callbacks.{name}", one) for name, one in value.items())
    is_callback = path.startswith("callbacks.") and isinstance(value, Mapping)
    return not (is_callback and value.get("_target_") in OBSERVERS)


def flatten(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """Yield dotted keys and values as text, shapes as 32x24."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flatten(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, as_text(value)


def as_text(value: Any) -> str:
    """Return a value of a config as it is typed, a list of shapes as its first one."""
    if isinstance(value, list) and value and all(isinstance(item, list) and len(item) == 2 for item in value):
        return shape_name(value[0])  # B follows from A and the layer
    if isinstance(value, list):
        return ",".join(as_text(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)
