"""Define the settings of the data source and of the splits."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic.dataclasses import dataclass

from krona.methods.placement import STRICT

MAX_COUNT = 2**31 - 1  # the largest number that torch and the operating system accept
Positive = Annotated[int, Ge(1), Le(MAX_COUNT)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    """The source of the rows, and their division into train, dev and test."""

    kind: Literal["hub", "tsv", "jsonl", "sample"]
    """hub: the Hub; tsv: GLUE's files; jsonl: SuperGLUE's files; sample: the generated sample tasks."""
    path: str | None = None
    """Folder with the files of the kinds tsv and jsonl."""
    name: str | None = None
    """Name of the data set on the Hub."""
    revision: str | None = None
    """Branch, tag or commit of the data set on the Hub."""
    protocol: Literal["table1", "appendix_d1", "validation"] = "table1"
    """Protocol for the division of the rows into train, dev and test."""
    train_rows: Positive | None = None
    """Train on a subset of this size with balanced classes; null: on all rows."""
    subset_seed: Seed | None = None
    """Seed of the subset; null: data.seed."""
    dev_from_train: Positive | Annotated[float, Gt(0), Lt(1)] | None = None
    """Rows of train that become dev, as a number or (below 1) a fraction; all given dev rows then belong to test."""
    test_from_train: Positive | Annotated[float, Gt(0), Lt(1)] | None = None
    """Rows of train that are added to test, as a number or (below 1) a fraction."""
    skip_bad_rows: bool = False
    """Skip malformed rows instead of stopping."""
    quoting: Literal["csv"] | None = None
    """csv: interpret quotes in a TSV file as in a CSV file; null: read them as text."""
    seed: Seed = 42
    """Seed of the division into train, dev and test."""
