"""Define the labels and the order of methods and tasks in tables and charts.

The keys ``label`` and ``order`` in a method's YAML file (conf/method) set the method's label and position.
"""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from krona.messages import shorten
from krona.paper import TASKS
from krona.paths import choice_files

TASK_LABELS = dict(zip(TASKS, ("CoLA", "RTE", "MRPC", "SST-2", "STS-B", "MNLI", "QNLI", "QQP"), strict=True)) | {
    "boolq": "BoolQ", "cb": "CB", "copa": "COPA", "multirc": "MultiRC", "wic": "WiC", "wsc": "WSC",
}  # fmt: skip
BENCHMARKS = {"glue": "GLUE", "superglue": "SuperGLUE"}  # maps data kinds to benchmark names
KINDS = {**BENCHMARKS, "sample": "sample data (not GLUE)", "own": "own data"}  # maps data kinds to descriptions


def task_label(task: str) -> str:
    """Return the label of a task, such as ``SST-2`` for sst2. If the task has no label, return the shortened name.

    The label of sample_sst2 is ``SST-2 sample``.
    """
    plain = task.removeprefix("sample_")
    return f"{TASK_LABELS.get(plain, shorten(plain))}{' sample' if plain != task else ''}"


def task_order(task: str) -> tuple[int, str]:
    """Return a sort key: first the paper's tasks in the paper's order, then other tasks by name."""
    plain = task.removeprefix("sample_")
    return (TASKS.index(plain), task) if plain in TASKS else (len(TASKS), task)


def method_label(method: str) -> str:
    """Return the label of a method, such as ``LoRA`` for lora.

    If the method has no label, return the shortened name.
    """
    label = _methods().get(method, {}).get("label")
    return shorten(label if isinstance(label, str) else method)


def method_order(method: str) -> tuple[float, str]:
    """Return a sort key: first the methods with an ``order``, then other methods by name."""
    order = _methods().get(method, {}).get("order")
    return (order if isinstance(order, int) else float("inf"), method)


def method_labels() -> dict[str, str]:
    """Return the labels of all methods in conf/method by method name, in the order of tables."""
    return {name: method_label(name) for name in sorted(_methods(), key=method_order)}


def _methods() -> Mapping[str, Mapping[str, Any]]:
    return _read_methods(os.getcwd(), os.environ.get("KRONA_CONF"))


@cache
def _read_methods(folder: str, conf: str | None) -> Mapping[str, Mapping[str, Any]]:
    """Return the section ``method`` of each YAML file in conf/method, by file name.

    The arguments determine the config folders, and are used only as the key of the cache.
    """
    sections = dict[str, Mapping[str, Any]]()
    for name, path in choice_files("method").items():
        try:
            values = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (OSError, ValueError, yaml.YAMLError):  # the error is reported when a run uses this method
            continue
        section = values.get("method") if isinstance(values, dict) else None
        sections[name] = section if isinstance(section, dict) else {}
    return sections
