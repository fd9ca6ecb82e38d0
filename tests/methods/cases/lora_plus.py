"""Facts about LoRA+ for tests."""

from methods.case import Case

CASE = Case(count=158_208, rank=1)
