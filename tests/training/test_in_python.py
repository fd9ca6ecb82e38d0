"""Test `krona.train`: it is the run of the command, and wrong overrides are one message."""

from pathlib import Path

import pytest

import krona
from krona.messages import KronaError


def test_train_returns_the_result_that_the_run_wrote(small: list[str], tmp_path: Path) -> None:
    overrides = [*small, "method=lora", "trainer.max_epochs=1"]
    result = krona.train(overrides, outputs=tmp_path)
    assert (result.status, result.method) == ("done", "lora")
    written = tmp_path / result.run_id / "result.json"
    before = written.stat().st_mtime_ns
    assert krona.train(overrides, outputs=str(tmp_path), quiet=True).model_dump() == result.model_dump()
    assert written.stat().st_mtime_ns == before
    assert krona.load(result, outputs=str(tmp_path)).origin.run_id == result.run_id
    (row,) = krona.results(tmp_path).itertuples()
    assert (row.run_id, row.test) == (result.run_id, result.test["score"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("method=lora", r"expects a list of overrides: krona.train\(\['method=lora', 'task=rte'\]\)"),
        (["method=lora,krona"], "method=lora,krona has several values"),
        (["lr=1"], "Unknown key lr: did you mean 'optimizer.lr'"),
    ],
)
def test_wrong_overrides(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(KronaError, match=message):
        krona.train(overrides, outputs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failed_run_raises_its_error(small: list[str], tmp_path: Path) -> None:
    with pytest.raises(KronaError, match="loss"):
        krona.train([*small, "method=full", "optimizer.lr=1e20", "trainer.max_epochs=3"], outputs=tmp_path, quiet=True)
