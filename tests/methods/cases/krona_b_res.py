"""Facts about KronA^B_res for tests."""

from methods.case import Case

CASE = Case(count=158_256, rank=768, start=float("inf"), merges=False, peft_type=None)
