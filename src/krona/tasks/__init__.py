"""Rows → source and target text: tasks, where their rows come from, splits, tokens."""

from krona.tasks.fingerprint import data_fingerprint
from krona.tasks.splits import Split, Splits, load
from krona.tasks.task import Task
from krona.tasks.tokens import Tokenised, collate, tokenise

__all__ = ["Split", "Splits", "Task", "Tokenised", "collate", "data_fingerprint", "load", "tokenise"]
