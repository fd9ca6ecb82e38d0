"""bench=sweep with a train.py of the test's own, which notes how it was called; the real one is `slow`."""

import json
from pathlib import Path

import pytest

from bench.door import PROJECT, run
from krona.messages import KronaError

TRAIN = """
import json, pathlib, sys, time
here = pathlib.Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if "fail=true" in sys.argv:
    sys.exit("error: no such thing")
seeds = next((item for item in sys.argv if item.startswith("seed=")), "seed=").removeprefix("seed=").split(",")
for seed in filter(None, seeds):
    run = here / "outputs" / f"run-{seed}"
    run.mkdir(parents=True, exist_ok=True)
    content = {"schema": 1, "run_id": run.name, "status": "running", "method": "krona", "task": "t", "seed": int(seed)}
    (run / "result.json").write_text(json.dumps(content | {"config": {"sweep": "bench"}}))
    time.sleep(0.05)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


def test_rows_and_calls(project: Path) -> None:
    stays = project / "outputs" / "another" / "result.json"
    stays.parent.mkdir(parents=True)
    stays.write_text("{}")
    content = run(project / "out", project=project, name="sweep", rounds=1, options={"jobs": 3, "overrides": ["a=1"]})
    rows = {row["name"]: row for row in content["rows"]}
    assert list(rows) == ["process", "job", "sweep"]
    assert rows["process"]["ratio_to_process"] == 1
    further = (rows["sweep"]["median_s"] - rows["process"]["median_s"]) / 2
    assert rows["job"]["median_s"] == pytest.approx(further)
    assert rows["job"]["ratio_to_process"] < 1
    assert rows["process"]["start_up_s"] > 0
    calls = [json.loads(line) for line in (project / "calls").read_text().splitlines()]
    common = ["a=1", "sweep=bench", "overwrite=true"]
    assert sorted(calls[:2]) == [["-m", *common, "seed=0,1,2"], [*common, "seed=0"]]
    assert calls[2:] == [["--cfg", "job", *common]]
    assert [path.name for path in (project / "outputs").iterdir()] == ["another"]  # its own runs are no results


def test_a_job_that_fails_is_the_message(project: Path) -> None:
    with pytest.raises(KronaError, match=r"train\.py fail=true .* failed: error: no such thing"):
        run(project / "out", project=project, name="sweep", options={"jobs": 2, "overrides": ["fail=true"]})


def test_a_sweep_of_one(project: Path) -> None:
    with pytest.raises(KronaError, match=r"bench\.options\.jobs=1: expected at least 2"):
        run(project / "out", project=project, name="sweep", options={"jobs": 1})
    assert not (project / "calls").exists()


@pytest.mark.slow
def test_real_jobs(tmp_path: Path) -> None:
    overrides = ["profile=demo", "task=sample_sst2", "method=krona", "trainer.max_steps=1", "data.train_rows=32"]
    content = run(tmp_path, project=PROJECT, name="sweep", rounds=1, options={"jobs": 2, "overrides": overrides})
    assert [row["name"] for row in content["rows"]] == ["process", "job", "sweep"]
