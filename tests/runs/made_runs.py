"""Create runs without training: finished, damaged, claimed and incomplete runs."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from krona.runs.result import Result, write_result
from krona.runs.studies import open_storage, study_path

TASK = {"name": "rte", "labels": ["yes", "no"], "metrics": ["accuracy"]}


def run(outputs: Path, name: str = "krona-rte-s0", **changes: Any) -> Path:
    """Write a finished run and return its folder. ``changes`` replace values of its result."""
    part = {"score": 50.0, "choice": 50.0, "parts": {"accuracy": 50.0}}
    config = {"method": {"name": "krona"}, "task": TASK, "keep": "adapter", "trainer": {"max_epochs": 3}}
    values = {
        "status": "done",
        "dev": part,
        "test": part,
        "trainable_params": 10,
        "row": {"label": "KronA", "settings": {}},
        "data_kind": "glue",
        "provenance": {"host": "here"},
        "config": config,
    }
    known: dict[str, Any] = {**values, **changes}
    names: Any = {group: known["config"][group]["name"] for group in ("method", "task")}
    result = Result(run_id=name, seed=known["config"].get("seed", 0), **names, **known)
    folder = outputs / name
    folder.mkdir(parents=True)
    write_result(folder, result)
    if result.status == "done":
        rows = [{"split": split, "target": target, "prediction": "0"} for split in ("dev", "test") for target in "01"]
        (folder / "predictions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        save_file({"A": np.zeros(3, np.float32)}, folder / "adapter.safetensors")
    return folder


def new_study(outputs: Path, name: str, *, base: str = "") -> Any:
    """Create a study without trials, as `krona tune` does."""
    import optuna

    path = study_path(outputs, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(study_name=name, storage=open_storage(path), direction="maximize", load_if_exists=True)
    study.set_user_attr("base", base)
    return study


def dead_pid() -> int:
    """Return the id of a process that has ended."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def claimed(folder: Path, pid: int, host: str | None = None, **values: Any) -> Path:
    path = folder / "claim.json"
    holder = {"host": host or socket.gethostname(), "pid": pid, "token": "a" * 32, "slurm": None}
    path.write_text(json.dumps({**holder, **values}))
    return path


def aged(path: Path, seconds: float = 7200) -> Path:
    """Set the time stamp of a file to some seconds ago, and return its path. A missing file is created."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
