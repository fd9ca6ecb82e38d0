"""A hundred thousand plausible results: `python tests/report/many.py FOLDER [RUNS]`, 8 KB a run on disk."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from krona.runs.result import Result
from report.generate import METHODS, TASKS, make_result

RATES = (1e-4, 2e-4, 3e-4, 5e-4, 7e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2, 2e-2, 3e-2)
ALIKE = 10  # backbones whose runs score the same: what costs is that there are so many, not that they differ


def write_many(outputs: Path, runs: int) -> int:
    """At least ``runs`` of them: methods × tasks × learning rates × seeds × backbones; 1 % failed."""
    written = 0
    for result in _results(runs):
        text = json.dumps(asdict(result), indent=1)
        for backbone in range(ALIKE):
            run_id = f"{result.run_id}{backbone}"
            folder = outputs / run_id
            folder.mkdir(parents=True)
            own = text.replace(result.run_id, run_id).replace('"google-t5/t5-base"', f'"google-t5/t5-base_{backbone}"')
            (folder / "result.json").write_text(own, encoding="utf-8")
            written += 1
    return written


def _results(runs: int) -> Iterator[Result]:
    seeds = max(1, -(-runs // (len(METHODS) * len(TASKS) * len(RATES) * ALIKE)))
    for seed in range(seeds):
        for number, lr in enumerate(RATES):
            for method in METHODS:
                for task in TASKS:
                    failed = (seed + number) % 10 == 9 and task == "rte"
                    yield make_result(
                        method, task, seed, rows=100, epochs=20, sweep="learning_rates", change={"optimizer.lr": lr},
                        status="failed" if failed else "done",
                    )  # fmt: skip


if __name__ == "__main__":
    print(write_many(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000))
