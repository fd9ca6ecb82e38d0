"""Test the command of W&B's agent for each file of sweeps/wandb."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.trackers.one_run import one_run, read_wandb
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from krona.config.overrides import normalize
from krona.paths import PROJECT
from krona.runs.result import read_result

SWEEPS = sorted((PROJECT / "sweeps" / "wandb").glob("*.yaml"))
SMALL = {"task": "sample_sst2"}  # replacements for data that a test cannot download


def first_values(parameters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return one point of the sweep, as the server would send it to an agent."""
    point = {}
    for key, spec in parameters.items():
        value = spec["value"] if "value" in spec else spec["values"][-1]
        point[key] = {"value": SMALL.get(key, value)}
    return point


def agent_command(sweep: dict[str, Any], point: dict[str, Any]) -> list[str]:
    """Return the command of the sweep. W&B's own functions replace its macros."""
    macros = create_sweep_command_args({"args": point})
    macros |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [sweep["program"]]}
    command: list[str] = []
    for chunk in create_sweep_command(list(sweep["command"])):
        name = chunk.removeprefix("${").removesuffix("}")
        command += macros.get(name, [chunk])
    return command


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_agents_command_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert sweep["metric"]["goal"] == "maximize"
    point = first_values(sweep["parameters"])
    command = agent_command(sweep, point)
    assert command[:3] == ["/usr/bin/env", "python", "train.py"]
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "agents-own-id")
    job, _ = one_run(tmp_path, *normalize(command[3:]), "trainer.max_epochs=1")
    assert job.state == "done"
    result = read_result(job.folder / "result.json")
    assert result.test is None, "a search looks at dev only"
    assert result.config["seed"] == point["seed"]["value"]
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    told = read_wandb(file, summary=True)
    assert told["run_id"] == "agents-own-id"
    assert told["summary"][sweep["metric"]["name"]] == result.dev["score"]
