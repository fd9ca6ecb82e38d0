"""Read the tables of the KronA paper (`sweeps/paper/*.csv`)."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from krona.messages import KronaError
from krona.paths import PAPER

TABLES = ("1", "2", "4", "5", "6", "7", "8", "9", "lora_ga")  # lora_ga: Table 1 of a paper that uses LoRA-GA's protocol
RECIPE_TABLES = {  # maps each table of hyper-parameters to its method
    "10": "full", "11": "bitfit", "12": "adapter", "13": "compacter", "14": "lora", "15": "pa", "16": "krona",
    "17": "krona_b", "18": "krona_b_res",
}  # fmt: skip
KEY_COLUMNS = ("table", "method", "task")  # columns of recipes.csv that are not hyper-parameters
TASKS = ("cola", "rte", "mrpc", "sst2", "stsb", "mnli", "qnli", "qqp")
# Maps (method, config key) to the reason why krona's value differs from the value in recipes.csv.
RECIPE_REASONS = {
    (
        "adapter",
        "method.bottleneck_dim",
    ): "Table 12's reduction factor 32; 0.83 % of the parameters, but Table 1 has 0.07 %"
}


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper. ``rows[row][column]`` is a printed number, with rows and columns in the paper's order."""

    key: str
    axis: str
    columns: tuple[str, ...]
    rows: dict[str, dict[str, float]]

    def value(self, row: str, column: str) -> float | None:
        return self.rows.get(row, {}).get(column)


def read_paper_table(key: str, folder: Path = PAPER) -> PaperTable:
    """Return a table of the paper. Empty cells are omitted.

    Raises:
        KronaError: the paper has no table of results with this key, or the CSV file is missing or damaged.
    """
    if key not in TABLES:
        raise KronaError(f"The paper has no table {key!r} of results. Choose from {', '.join(TABLES)}.")
    path = folder / (f"table{key}.csv" if key.isdecimal() else f"{key}.csv")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            axis, *columns = next(reader := csv.reader(file))
            rows = {
                row[0]: {column: float(text) for column, text in zip(columns, row[1:], strict=True) if text}
                for row in reader
                if row
            }
    except (OSError, ValueError, StopIteration) as error:
        raise KronaError(f"{path} does not contain the paper's Table {key}: {error}") from error
    return PaperTable(key, axis, tuple(columns), rows)


@cache
def read_recipes(folder: Path = PAPER) -> dict[tuple[str, str], dict[str, str]]:
    """Return the paper's hyper-parameters (Tables 10 to 18) by method and task, as a map from config key to text."""
    with (folder / "recipes.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    return {
        (row["method"], row["task"]): {key: value for key, value in row.items() if value and key not in KEY_COLUMNS}
        for row in rows
    }
