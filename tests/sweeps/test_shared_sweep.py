"""Test a sweep in several processes on a shared folder: each run happens once, and interrupted runs resume."""

from collections import Counter
from pathlib import Path
from typing import Any

from krona.runs.result import read_result
from one_job import compose_all, take_part


def test_three_processes_started_together_do_each_of_four_runs_once(
    small: list[str], processes: Any, tmp_path: Path
) -> None:
    jobs = compose_all([*small, "method=untuned", "seed=0,1,2,3", "score_test=false"])
    assert len(jobs) == 4
    outputs, said = tmp_path / "outputs", processes.SimpleQueue()
    together = processes.Barrier(3)
    started = [processes.Process(target=take_part, args=(jobs, str(outputs), together, said)) for _ in range(3)]
    for process in started:
        process.start()
    states: Counter[str] = Counter()
    for _ in started:
        states += Counter(said.get())
    for process in started:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert states["done"] == 4
    assert states["done"] + states["done already"] + states["running"] == 3 * 4
    folders = [path.parent for path in outputs.glob("*/result.json")]
    assert len(folders) == 4
    for folder in folders:
        assert read_result(folder / "result.json").status == "done"
        assert not (folder / "claim.json").exists()
        assert (folder / "train.log").read_text().count(folder.name) == 1  # started once
