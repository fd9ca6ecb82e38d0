"""Tasks, sources of their rows as text, counts and notes of what was read, splits and tokens."""

from krona.tasks.facts import official_rows
from krona.tasks.fingerprint import data_fingerprint
from krona.tasks.notes import notes
from krona.tasks.rows import Split
from krona.tasks.splits import ROLES, Splits, load, undivided
from krona.tasks.task import Task
from krona.tasks.tokens import Encoding, Tokenised, tokenise

__all__ = [
    "ROLES",
    "Encoding",
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
