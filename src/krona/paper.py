"""Read the paper's printed tables (`sweeps/paper/*.csv`), and name and order its methods and tasks."""

import csv
from dataclasses import dataclass
from pathlib import Path

from krona.messages import KronaError
from krona.paths import PAPER

TABLES = ("1", "2", "4", "5", "6", "7", "8", "9")
TASKS = ("cola", "rte", "mrpc", "sst2", "stsb", "mnli", "qnli", "qqp")
TASK_LABELS = dict(zip(TASKS, ("CoLA", "RTE", "MRPC", "SST-2", "STS-B", "MNLI", "QNLI", "QQP"), strict=True))
METHODS = ("full", "bitfit", "adapter", "lora", "compacter", "pa", "krona", "krona_b", "krona_b_res")  # Table 1's rows
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
}

# Averages that do not come out of their rows (to 0.01), by table and row: what the row gives.
ERRATA = {("8", "adapter"): 0.73625, ("8", "krona"): 0.75625}


@dataclass(frozen=True)
class PaperTable:
    """One printed table: ``rows[row][column]``, in the paper's order."""

    number: str
    axis: str
    columns: tuple[str, ...]
    rows: dict[str, dict[str, float]]

    def value(self, row: str, column: str) -> float | None:
        return self.rows.get(row, {}).get(column)


def read_paper_table(number: str, folder: Path = PAPER) -> PaperTable:
    """Return a table of the paper. Raise `KronaError` for an unknown number or a damaged file."""
    if number not in TABLES:
        raise KronaError(f"The paper has no table {number!r} of results. Choose from {', '.join(TABLES)}.")
    path = folder / f"table{number}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            axis, *columns = next(reader := csv.reader(file))
            rows = {row[0]: dict(zip(columns, map(float, row[1:]), strict=True)) for row in reader if row}
    except (OSError, ValueError, StopIteration) as error:
        raise KronaError(f"{path} does not hold the paper's Table {number}: {error}") from error
    return PaperTable(number, axis, tuple(columns), rows)


def task_label(task: str) -> str:
    """Return ``SST-2`` for sst2 and for sample_sst2, whose section says that it is sample data; else the name."""
    return TASK_LABELS.get(task.removeprefix("sample_"), task)


def task_order(task: str) -> tuple[int, str]:
    """Return a sort key: the paper's tasks in its order, then others by name."""
    plain = task.removeprefix("sample_")
    return (TASKS.index(plain), task) if plain in TASKS else (len(TASKS), task)


def method_order(method: str) -> tuple[int, str]:
    """Return a sort key: methods in Table 1's order, then others by name."""
    known = tuple(METHOD_LABELS)
    return (known.index(method), method) if method in known else (len(known), method)
