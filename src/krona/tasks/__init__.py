"""Read the rows of a task from any data source, divide them into splits, check them, and compute token ids."""

from krona.tasks.data_settings import Data
from krona.tasks.input_rows import InputRows
from krona.tasks.notes import notes, official_rows
from krona.tasks.rows import Split
from krona.tasks.sources import data_fingerprint, read_parts
from krona.tasks.splits import ROLES, Splits, load
from krona.tasks.task import Task
from krona.tasks.tokens import Encoding, Tokenised, tokenise

__all__ = [
    "ROLES",
    "Data",
    "Encoding",
    "InputRows",
    "Split",
    "Splits",
    "Task",
    "Tokenised",
    "data_fingerprint",
    "load",
    "notes",
    "official_rows",
    "read_parts",
    "tokenise",
]
