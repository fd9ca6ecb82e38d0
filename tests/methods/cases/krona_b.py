"""Facts about KronA^B for tests."""

from methods.case import Case

CASE = Case(count=158_208, rank=768, merges=False, peft_type=None)
