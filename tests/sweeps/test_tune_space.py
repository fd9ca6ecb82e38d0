"""Test the YAML file of a search space: its axes, and the messages for wrong axes."""

from pathlib import Path

import pytest

from krona.messages import KronaError
from krona.paths import CONF
from krona.runs.studies import Axis
from krona.sweeps.tune_space import read_space, trial_overrides

SPACE = CONF.parent / "sweeps" / "tune" / "default.yaml"
CONFIG = {"method": {"kron_factors": [], "scaling": 1.0}, "optimizer": {"lr": 1.0}}


def test_axes_without_a_key_in_the_config_are_left_out() -> None:
    assert [axis.key for axis in read_space(SPACE, CONFIG)] == ["optimizer.lr", "method.scaling", "factors"]
    assert [axis.key for axis in read_space(SPACE, {"optimizer": {"lr": 1.0}, "method": {}})] == ["optimizer.lr"]
    factors = Axis("factors", choices=("2x384",), also="method.fit_factors=nearest")
    axes = (Axis("optimizer.lr", low=1e-4, high=1.0), factors)
    params = {"optimizer.lr": 0.001, "factors": "2x384"}
    assert trial_overrides(axes, params) == ["optimizer.lr=0.001", "factors=2x384", "method.fit_factors=nearest"]


def test_the_space_of_all_axes_has_a_bias_if_the_method_has_one() -> None:
    axes = read_space(SPACE.with_name("all.yaml"), {**CONFIG, "method": {"scaling": 1, "bias": 1}})
    assert [axis.key for axis in axes] == ["optimizer.lr", "method.scaling", "method.bias"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nothing: 1", "has no axes"),
        ("axes: {optimizer.lr: {low: 2, high: 1}}", "low=2 and high=1. They must be numbers with low < high"),
        ("axes: {optimizer.lr: {low: 0, high: 1, log: true}}", "numbers with low < high and low > 0"),
        ("axes: {optimizer.lr: {choices: []}}", "must be a list of numbers or names"),
        ("axes: {optimizer.lr: {lo: 1}}", "must have low and high, or choices"),
        ("axes: {method.alpha: {low: 0, high: 1}}", "has none of the keys of"),
        ("axes: [", "can't be read"),
    ],
)
def test_a_wrong_space_is_one_message(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(content)
    with pytest.raises(KronaError) as error:
        read_space(path, CONFIG)
    assert words in str(error.value)
