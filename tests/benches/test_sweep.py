"""Test bench=sweep with a simulated train.py that records its arguments."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benches.bench_runner import PROJECT, run
from benchmarks import sweep
from krona.messages import KronaError

TRAIN = """
import json, pathlib, sys
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
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


def by_calls(project: Path) -> float:
    """Return the time of a simulated clock.

    Each call of train.py takes ten seconds, and each of its runs one second.
    """
    file = project / "calls"
    calls = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    runs = [item for call in calls for word in call if word.startswith("seed=") for item in word.split(",")]
    return 10.0 * len(calls) + len(runs)


def test_rows_and_calls(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "time", SimpleNamespace(perf_counter=lambda: by_calls(project)))
    stays = project / "outputs" / "another" / "result.json"
    stays.parent.mkdir(parents=True)
    stays.write_text("{}")
    content = run(project / "out", project=project, name="sweep", rounds=1, options={"jobs": 3, "overrides": ["a=1"]})
    rows = {row["name"]: row for row in content["rows"]}
    assert list(rows) == ["process", "job", "sweep"]
    assert {name: row["median_s"] for name, row in rows.items()} == {"process": 11, "job": 1, "sweep": 13}
    assert {name: row["ratio_to_process"] for name, row in rows.items()} == {
        "process": 1, "job": 1 / 11, "sweep": 13 / 11,
    }  # fmt: skip
    assert [row["start_up_s"] for row in rows.values()] == [10, None, None]
    calls = [json.loads(line) for line in (project / "calls").read_text().splitlines()]
    common = ["a=1", "sweep=bench", "overwrite=true"]
    assert sorted(calls[:2]) == [["-m", *common, "seed=0,1,2"], [*common, "seed=0"]]
    assert calls[2:] == [["--cfg", "job", *common]]
    assert [path.name for path in (project / "outputs").iterdir()] == ["another"]  # without its own runs


def test_a_failing_job_gives_the_message(project: Path) -> None:
    with pytest.raises(KronaError, match=r"train\.py fail=true .* failed: error: no such thing"):
        run(project / "out", project=project, name="sweep", options={"jobs": 2, "overrides": ["fail=true"]})


def test_a_sweep_of_one(project: Path) -> None:
    with pytest.raises(KronaError, match=r"bench\.options\.jobs=1 must be"):
        run(project / "out", project=project, name="sweep", options={"jobs": 1})
    assert not (project / "calls").exists()


@pytest.mark.slow
def test_real_jobs(tmp_path: Path) -> None:
    overrides = ["profile=demo", "task=sample_sst2", "method=krona", "trainer.max_steps=1", "data.train_rows=32"]
    content = run(tmp_path, project=PROJECT, name="sweep", rounds=1, options={"jobs": 2, "overrides": overrides})
    assert [row["name"] for row in content["rows"]] == ["process", "job", "sweep"]
