"""Test the list of differences below a table."""

from pathlib import Path

import pytest

from krona.metrics.power import POWER
from krona.report import pairs
from report.generate import collected, grid


def test_all_pairs_of_a_table_with_the_numbers_of_its_tests(tmp_path: Path) -> None:
    table = collected(tmp_path, grid(["lora", "krona", "bitfit"], ["rte"])).tables[0]
    frame = table.pairs
    assert frame is not None
    assert len(frame) == 3
    assert [*frame["p"]] == sorted(frame["p"])
    for (a, b, task), one in table.differences.items():
        names = (a.name, b.name) if one.value >= 0 else (b.name, a.name)
        (line,) = frame[frame["Pair"] == " − ".join(names)].to_dict("records")
        assert line["Difference"] == f"+{abs(one.value):.2f}"
        low, high = (float(end) for end in line["Interval"].replace("−", "-").split("…"))
        assert (low + high) / 2 == pytest.approx(abs(one.value), abs=0.01)
        assert float(line["p (Holm)"]) == pytest.approx(table.p_values[a, b, task], abs=5e-4)
        assert float(line["Detectable"]) == pytest.approx(one.detectable(POWER), abs=5e-3)
    assert "over rows and seeds" in frame.attrs["legend"]


def test_no_list_of_too_many_pairs_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MAX_PAIRS", 2)
    assert collected(tmp_path / "a", grid(["lora", "krona", "bitfit"], ["rte"])).tables[0].pairs is None
    assert collected(tmp_path / "b", grid(["lora"], ["rte"])).tables[0].pairs is None


def test_with_one_seed_the_pairs_are_about_the_runs(tmp_path: Path) -> None:
    frame = collected(tmp_path, grid(["lora", "krona"], ["rte", "cola"], [0])).tables[0].pairs
    assert frame is not None
    assert [*frame["Pair"].str.rpartition(", ")[2].sort_values()] == ["CoLA", "RTE"]
    assert "rows, for these runs only" in frame.attrs["legend"]
