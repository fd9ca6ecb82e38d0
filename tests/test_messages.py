"""A count and its noun."""

import pytest

from krona.messages import amount, mask_passwords


@pytest.mark.parametrize(("count", "said"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1008, "1,008 runs")])
def test_one_is_singular(count, said):
    assert amount(count, "run") == said


def test_a_urls_password_is_masked() -> None:
    given = {"mlflow": {"tracking_uri": "https://me:s3cr:et@host:5000/x", "a": ["postgresql://u:p@h/db", 1, None]}}
    masked = {"mlflow": {"tracking_uri": "https://me:***@host:5000/x", "a": ["postgresql://u:***@h/db", 1, None]}}
    assert mask_passwords(given) == masked
    assert mask_passwords("https://host:5000/a@b") == "https://host:5000/a@b"
