"""Facts about rsLoRA for tests."""

from methods.case import Case

CASE = Case(count=72 * 8 * 1_536 + 47_616, rank=8)
