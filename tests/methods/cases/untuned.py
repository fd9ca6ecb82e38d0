"""Facts about the untuned model for tests."""

from methods.case import Case

CASE = Case(count=0)
