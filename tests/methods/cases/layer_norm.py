"""Facts about trained LayerNorms for tests."""

from methods.case import Case

CASE = Case(count=47_616, peft_type="LN_TUNING")
