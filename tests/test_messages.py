"""A count and its noun."""

import pytest

from krona.messages import amount


@pytest.mark.parametrize(("count", "said"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1008, "1,008 runs")])
def test_one_is_singular(count, said):
    assert amount(count, "run") == said
