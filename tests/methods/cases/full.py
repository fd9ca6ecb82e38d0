"""Facts about full fine-tuning for tests."""

from methods.case import Case

CASE = Case(count=222_903_552, rank=768, peft_type=None)
