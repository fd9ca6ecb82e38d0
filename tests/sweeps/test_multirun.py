"""Test a multirun in this process: failures do not affect other jobs, and finished runs are not repeated."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra.core.singleton import Singleton

from krona.cli.train import train

Multirun = Callable[..., int]


@pytest.fixture
def multirun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Multirun]:
    """Return a function that runs ``krona train -m`` with results in outputs/, and returns the exit code."""

    def run(*overrides: str) -> int:
        monkeypatch.setattr(sys, "argv", ["krona", "-m", *overrides, f"hydra.sweep.dir={tmp_path / 'outputs'}"])
        with pytest.raises(SystemExit) as end:
            train()
        return end.value.code

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    state = Singleton.get_state()
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # is set by the program
    yield run
    Singleton.set_state(state)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_sweep_keeps_a_users_multirun_yaml(
    multirun: Multirun, small: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outputs").mkdir()
    file = tmp_path / "outputs" / "multirun.yaml"
    file.write_text("mine: 1\n")
    assert multirun(*small, "seed=0,1") == 1
    assert f"{file} exists" in capfd.readouterr().err
    assert [path.read_text() for path in file.parent.iterdir()] == ["mine: 1\n"]


def test_a_sweep_continues_after_failures(
    multirun: Multirun, small: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [*small, "method=lora,full"]
    outputs = tmp_path / "outputs"
    assert multirun(*command, "batch_size=0,6") == 1
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert sorted(path.parent.name.split("-")[0] for path in outputs.glob("*/result.json")) == ["full", "lora"]
    assert "4 runs: 2 done, 2 failed" in out
    assert out.index("  2 runs will fail: batch_size=0 must be") < out.index("epoch  1")
    assert out.count("\n  note: GLUE's form") == 1  # with the first run that starts, not only at the end
    kept = {path: path.stat().st_mtime_ns for path in (*outputs.glob("*-*"), *outputs.glob("*-*/*"))}
    assert multirun(*command, "batch_size=6") == 0
    out, err = capfd.readouterr()
    assert (err, "2 done already" in out) == ("", True)
    assert not [path for path in outputs.rglob("multirun.yaml") if path.parent.name != ".hydra"]
    assert {path: path.stat().st_mtime_ns for path in (*outputs.glob("*-*"), *outputs.glob("*-*/*"))} == kept


def test_the_papers_factor_shapes_run_on_a_backbone_of_another_width(
    multirun: Multirun, small: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert multirun(*small, "method=krona", "factors=32x24,3x256,2x384") == 0
    out, err = capfd.readouterr()
    assert (err, "3 runs: 2 done, 1 done already" in out) == ("", True)
    assert "  note: factors=2x384 is the same run as factors=3x256 on this backbone, and is not repeated." in out
    assert len(list((tmp_path / "outputs").glob("krona-*"))) == 2
    assert "The paper's factor shape (32, 24) becomes (" in out
    assert multirun(*small, "method=krona", "method.kron_factors=[[32,24]],[[24,32]]") == 1
    assert "method.fit_factors=nearest replaces" in capfd.readouterr().out, "a typed shape is never changed"
