"""The labels and the order of methods and tasks in reports."""

from krona.messages import shorten
from krona.paper import TASKS

TASK_LABELS = dict(zip(TASKS, ("CoLA", "RTE", "MRPC", "SST-2", "STS-B", "MNLI", "QNLI", "QQP"), strict=True))
METHOD_LABELS = {
    "full": "Fine-tuning",
    "bitfit": "BitFit",
    "adapter": "Adapter",
    "lora": "LoRA",
    "compacter": "Compacter",
    "pa": "PA",
    "krona": "KronA",
    "krona_b": "KronA^B",
    "krona_b_res": "KronA^B_res",
    "layer_norm": "LayerNorms only",
    "untuned": "Untuned",
    "dora": "DoRA",
    "krona_dora": "KronA with DoRA",
    "lokr": "LoKr",
    "ia3": "(IA)³",
    "miss": "MiSS",
    "kadaptation": "KAdaptation",
    "cdka": "CDKA",
    "c3a": "C3A",
    "monarch": "Monarch (MoRe)",
    "cdka_authors": "CDKA (authors' values)",
    "hira": "HiRA",
    "vera": "VeRA",
    "moka": "MoKA",
}


def task_label(task: str) -> str:
    """Return the label of a task, such as ``SST-2`` for sst2. Another task has its shortened name as label.

    sample_sst2 has the same label as sst2, because reports show sample data in a separate section.
    """
    return TASK_LABELS.get(task.removeprefix("sample_"), shorten(task))


def method_label(method: str) -> str:
    """Return the label of a method, such as ``LoRA`` for lora. Another method has its shortened name as label."""
    return METHOD_LABELS.get(method, shorten(method))


def task_order(task: str) -> tuple[int, str]:
    """Return a sort key: first the paper's tasks in the paper's order, then other tasks by name."""
    plain = task.removeprefix("sample_")
    return (TASKS.index(plain), task) if plain in TASKS else (len(TASKS), task)


def method_order(method: str) -> tuple[int, str]:
    """Return a sort key: first the methods of `METHOD_LABELS` in its order, then other methods by name."""
    known = tuple(METHOD_LABELS)
    return (known.index(method), method) if method in known else (len(known), method)
