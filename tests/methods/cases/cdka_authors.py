"""Facts about CDKA with the values of its authors for tests."""

from methods.case import Case

CASE = Case(disturbance=0.01)  # the scale of the update is 11 times larger
