"""Test a multirun in this process: failures do not affect other jobs, and finished runs are not repeated."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.singleton import Singleton

from krona.cli.train import train
from krona.config.compose import Composed
from krona.runs.result import read_result, write_result
from krona.training.plan import plan_run
from one_job import compose_all, typed
from runs.made_runs import claimed

Multirun = Callable[..., int]
TWO = "seed=0,1"


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


def test_a_sweep_continues_after_failures(
    multirun: Multirun, small: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [*small, "method=lora,full"]
    outputs = tmp_path / "outputs"
    assert multirun(*command, "batch_size=0,6") == 1
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert sorted(path.parent.name.split("-")[0] for path in outputs.glob("*/result.json")) == ["full", "lora"]
    assert "4 runs: 2 done, 2 wrong" in out
    assert out.index("  2 runs will fail: batch_size=0 must be") < out.index("epoch  1")
    assert out.count("\n  note: GLUE's form") == 1  # with the first run that starts, not only at the end
    kept = {path: path.stat().st_mtime_ns for path in (*outputs.glob("*-*"), *outputs.glob("*-*/*"))}
    assert multirun(*command, "batch_size=6") == 0
    out, err = capfd.readouterr()
    assert (err, "2 done already" in out) == ("", True)
    assert not [path for path in outputs.rglob("multirun.yaml") if path.parent.name != ".hydra"]
    assert {path: path.stat().st_mtime_ns for path in (*outputs.glob("*-*"), *outputs.glob("*-*/*"))} == kept


def test_bad_data_are_reported_once_before_the_first_run(
    multirun: Multirun, tiny_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = typed(tiny_folder, tmp_path / "broken")
    train_file = tmp_path / "broken" / "RTE" / "train.tsv"
    with train_file.open("a") as file:
        file.write("13\ta\tb\tmaybe\n")
    message = f"{train_file}:14: label 'maybe' is not one of entailment (0), not_entailment (1). Correct the row, or"
    assert multirun(*command, "method=lora,krona,bitfit", "sweep=broken") == 1
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"error: {message} skip and count such rows with data.skip_bad_rows=true.\n")
    assert not list((tmp_path / "outputs").rglob("*.json"))
    assert multirun(*command, "data.skip_bad_rows=true,false", "batch_size=4,0") == 1
    out, _ = capfd.readouterr()
    assert "  2 runs will fail: batch_size=0 must be" in out
    assert f"  1 run will fail: {message}" in out
    assert "4 runs: 1 done, 3 wrong" in out
    assert "retry=failed" not in out


def test_a_sweep_resumes_the_run_of_a_process_that_was_killed_meanwhile(
    multirun: Multirun, small: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """The other process works on the first run when this process wants it, and is killed during the second run."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    first, second = (plan_run(Composed(config), tmp_path / "outputs") for config in compose_all([*small, TWO]))
    first.folder.mkdir(parents=True)
    claimed(first.folder, other.pid)
    monkeypatch.setattr("krona.training.run_job.write_result", lambda *given: kill(other) or write_result(*given))

    def kill(process: subprocess.Popen[bytes]) -> None:
        process.kill()  # without `wait`, as if its parent had not read the exit code yet

    assert multirun(*small, TWO) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert f"1/2  running  {first.run_id}: " in out
    assert f"The process that worked on {first.run_id} has ended. Resuming the run." in out
    assert out.index(f"2/2  done  {second.run_id}") < out.index(f"1/2  done  {first.run_id}")
    assert "2 runs: 2 done\n" in out
    other.wait()


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


def test_a_result_records_the_settings_that_its_command_varied(
    multirun: Multirun, small: list[str], tmp_path: Path
) -> None:
    assert multirun(*small, "method=krona", "method.scaling=4", "++method.init=normal,kaiming", TWO) == 0
    results = [read_result(path) for path in sorted((tmp_path / "outputs").glob("krona-*/result.json"))]
    rows = {(one.seed, one.row["label"], *one.row["settings"].items()) for one in results if one.row}
    inits = ("kaiming", "normal")
    assert rows == {(seed, f"KronA (method.init={init})", ("method.init", init)) for init in inits for seed in (0, 1)}
    assert {one.data_kind for one in results} == {"glue"}
    assert all(one.departures and "12 rows" in " ".join(one.departures) for one in results)
