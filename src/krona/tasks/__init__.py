"""Tasks, sources of their rows as text, splits and tokens."""

from krona.tasks.fingerprint import data_fingerprint
from krona.tasks.rows import Split
from krona.tasks.splits import Splits, load
from krona.tasks.task import Task
from krona.tasks.tokens import Encoding, Tokenised, tokenise

__all__ = ["Encoding", "Split", "Splits", "Task", "Tokenised", "data_fingerprint", "load", "tokenise"]
