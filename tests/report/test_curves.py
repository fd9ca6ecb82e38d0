"""Test charts of scores against learning rates and numbers of rows."""

import itertools
from html import unescape

import numpy as np
import pytest

from krona.report.build import build_report
from krona.report.curves import find_curves
from krona.report.text import SEEDS
from report.generate import collected, make_result, write_all

RATES = (3e-4, 1e-3, 3e-3)


def sweep_of_rates(methods=("lora", "krona"), rates=RATES, **kwargs):
    return [
        make_result(m, "rte", s, rows=60, change={"optimizer.lr": lr}, **kwargs)
        for m in methods for lr in rates for s in (0, 1)
    ]  # fmt: skip


def sweep_of_rows():
    """Return results in which fine-tuning is below LoRA for few training rows, and above it for all rows."""
    skills = {"full": (0.1, 0.5, 0.95), "lora": (0.6, 0.6, 0.6)}
    found = []
    for (method, skill), seed in itertools.product(skills.items(), (0, 1)):
        for rows, own in zip((16, 128, None), skill, strict=True):
            change = {"data.train_rows": rows, "data.subset_seed": seed}
            result = make_result(method, "rte", seed, rows=300, skill=own, change=change)
            result.splits["train"] |= {"rows": rows or 2490, "fingerprint": f"{rows} {seed}"}
            found.append(result)
    return found


def test_a_line_a_method_over_rates_with_dev_scores(tmp_path):
    (curves,) = find_curves(collected(tmp_path, sweep_of_rates()).runs)
    assert (curves.setting, curves.split, list(curves.lines)) == ("optimizer.lr", "dev", ["lora", "krona"])
    for points in curves.lines.values():
        assert [point.x for point in points] == list(RATES)
        for point in points:
            assert point.seeds == 2
            assert point.score == pytest.approx(np.mean(point.interval))


def test_two_rates_make_no_curve_and_another_setting_no_point_of_it(tmp_path):
    assert find_curves(collected(tmp_path / "two", sweep_of_rates(rates=RATES[:2])).runs) == []
    others = [
        make_result("krona", "rte", 2, rows=60, change=change)
        for change in ({"optimizer.lr": 1e-2, "method.scaling": 4.0}, {"optimizer.lr": "x"})
    ]
    (curves,) = find_curves(collected(tmp_path / "other", [*sweep_of_rates(("krona",)), *others]).runs)
    assert [point.x for point in curves.lines["krona"]] == list(RATES)


def test_subsets_of_each_seed_are_one_point(tmp_path):
    (curves,) = find_curves(collected(tmp_path, sweep_of_rows()).runs)
    assert [(point.x, point.seeds) for point in curves.lines["lora"]] == [(16, 2), (128, 2), (2490, 2)]
    assert curves.split == "test"


def test_the_charts_are_drawn(tmp_path):
    write_all(tmp_path, sweep_of_rates())
    picture = unescape(build_report(tmp_path, format="html"))
    for words in ("0.0003", "Dev score by learning rate", f"Bars: over seeds ({SEEDS})."):
        assert words in picture
    assert "<title>LoRA</title>" in picture, "a line"
    assert "LoRA: " in picture, "a tooltip"


@pytest.mark.parametrize("of_seed", [False, True])
def test_a_row_has_all_seeds_of_a_subset(of_seed, tmp_path):
    """The subset is the same for all seeds (subset_seed=0), or each seed has its own (subset_seed=${seed})."""
    results = []
    for seed in (0, 1, 2):
        subset = seed if of_seed else 0
        change = {"data.train_rows": 100, "data.subset_seed": subset}
        result = make_result("lora", "rte", seed, rows=60, change=change)
        result.splits["train"] |= {"rows": 100, "fingerprint": f"subset {subset}"}
        results.append(result)
    runs = collected(tmp_path, results).runs
    assert len({run.variant for run in runs}) == 1
    settings = runs[0].settings
    assert settings["train set"] == ("drawn by seed" if of_seed else "subset 0")
    assert ("data.subset_seed" in settings) == (not of_seed)
