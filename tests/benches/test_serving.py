"""Test bench=serving on tiny models: its rows, but not its times."""

from pathlib import Path

import pytest

from benches.bench_runner import run
from krona.messages import KronaError


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5_base", "bert", "llama"])
def test_serving(kind: str, tmp_path: Path) -> None:
    options = {"backbone": kind, "adapters": [1, 3]}
    content = run(tmp_path, name="serving", methods=["lora", "krona_b"], batch_size=4, options=options)
    rows = {row["name"]: row for row in content["rows"]}
    ways = [f"{way} {count}" for count in (1, 3) for way in ("mixed", "switched", "reloaded", "switch")]
    assert list(rows) == [f"{method}/{way}" for method in ("lora", "krona_b") for way in ("merged", "active", *ways)]
    assert (rows["lora/merged"]["form"], rows["krona_b/merged"]["form"]) == ("merged", "plain")
    assert rows["krona_b/merged"]["ratio_to_merged"] == 1
    assert (rows["lora/mixed 3"]["form"], rows["lora/mixed 3"]["adapters"]) == ("mixed", 3)
    assert rows["lora/mixed 3"]["rows_per_s"] == pytest.approx(4 / rows["lora/mixed 3"]["median_s"])
    assert rows["lora/switch 3"]["ratio_to_merged"] is None
    assert rows["krona_b/switched 1"]["shape"]


def test_more_adapters_than_rows(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match=r"bench\.options\.adapters=\[1, 8\] must be a list .* bench\.batch_size=2"):
        run(tmp_path, name="serving", methods=["lora"], options={"adapters": [1, 8]})
