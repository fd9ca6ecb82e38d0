"""Tasks, sources of their rows as text, counts and notes of what was read, splits and tokens."""

from krona.tasks.notes import notes, official_rows
from krona.tasks.rows import DataOptions, Split
from krona.tasks.sources import InputRows, data_fingerprint, undivided
from krona.tasks.splits import ROLES, Splits, load
from krona.tasks.task import Task
from krona.tasks.tokens import Encoding, Tokenised, tokenise

__all__ = [
    "ROLES",
    "DataOptions",
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
    "tokenise",
    "undivided",
]
