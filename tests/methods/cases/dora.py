"""Facts about DoRA for tests."""

from methods.case import Case

CASE = Case(peft_arguments={"rank": 2, "scaling": 2.0})
