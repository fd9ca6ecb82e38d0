"""Test which part of the data differs most from GLUE's number of rows."""

from krona.runs.provenance import describe_part, differing_part
from report.generate import make_result


def test_the_worst_part_is_named_with_both_numbers() -> None:
    result = make_result("krona", "mnli")
    assert differing_part(result) is None
    result.provenance["official_rows"] |= {"train": [392_703, 392_702], "validation_matched": [9_000, 9_815]}
    part = differing_part(result)
    assert part == ("validation_matched", 9_000, 9_815)
    assert describe_part(part) == "GLUE's format, but 9,000 instead of 9,815 rows in validation_matched"


def test_rows_that_nobody_counted_are_not_odd() -> None:
    result = make_result()
    del result.provenance["official_rows"]
    assert differing_part(result) is None
