"""Tasks, sources of their rows as text, splits and tokens."""

from krona.tasks.fingerprint import data_fingerprint
from krona.tasks.rows import Split
from krona.tasks.splits import Splits, load
from krona.tasks.task import Task
from krona.tasks.tokens import Tokenised, collate, tokenise

__all__ = ["Split", "Splits", "Task", "Tokenised", "collate", "data_fingerprint", "load", "tokenise"]
