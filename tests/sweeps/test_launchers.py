"""Test a sweep with Hydra's own launcher plugins: its counts, its closing table and its exit code."""

import importlib.util
from pathlib import Path

import pytest

from typed_run import train

TWO = ["method=lora", "seed=0,1", "score_test=false"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_the_counts_and_the_exit_code_come_from_the_folders(launcher: str, small: list[str], tmp_path: Path) -> None:
    if importlib.util.find_spec(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher") is None:
        pytest.skip("pip install -e '.[cluster]'")
    command = ["-m", *TWO, *small, f"hydra/launcher={launcher}"]
    done = train(tmp_path / "outputs", *command)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "2 runs: 2 done" in done.stdout
    assert len(list((tmp_path / "outputs").glob("*/result.json"))) == 2
    again = train(tmp_path / "outputs", *command, "batch_size=0,4")
    assert again.returncode == 1
    assert "4 runs: 2 done already, 2 wrong" in again.stdout
