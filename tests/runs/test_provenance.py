"""The part of GLUE whose rows are furthest from GLUE's."""

from krona.runs.provenance import glue_form, odd_part
from report.generate import make_result


def test_the_worst_part_is_named_with_both_numbers() -> None:
    result = make_result("krona", "mnli")
    assert odd_part(result) is None
    result.provenance["official_rows"] |= {"train": [392_703, 392_702], "validation_matched": [9_000, 9_815]}
    part = odd_part(result)
    assert part == ("validation_matched", 9_000, 9_815)
    assert glue_form(part) == "GLUE's form, 9,000 rows for 9,815 in validation_matched"


def test_rows_that_nobody_counted_are_not_odd() -> None:
    result = make_result()
    del result.provenance["official_rows"]
    assert odd_part(result) is None
