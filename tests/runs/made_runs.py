"""An outputs folder made by hand: runs that are done, damaged, claimed and half-written, without training."""

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

from krona.runs.result import Result, outcomes, write_result

TASK = {"name": "rte", "labels": ["yes", "no"], "metrics": ["accuracy"]}


def run(outputs: Path, name: str = "krona-rte-s0", **changes: Any) -> Path:
    """A run's folder, done unless ``changes`` say otherwise."""
    part = {"score": 50.0, "choice": 50.0, "parts": {"accuracy": 50.0}, "outcomes": outcomes(["0", "1"], ["0", "0"])}
    config = {
        "method": {"name": "krona"},
        "task": TASK,
        "keep": "adapter",
        "trainer": {"max_epochs": 3},
    }
    values = {
        "status": "done",
        "dev": part,
        "test": part,
        "trainable_params": 10,
        "provenance": {"host": "here"},
        "config": config,
    }
    known: dict[str, Any] = {**values, **changes}
    result = Result(name, method="krona", task="rte", seed=0, **known)
    folder = outputs / name
    folder.mkdir(parents=True)
    write_result(folder, result)
    if result.status == "done":
        (folder / "predictions.jsonl").write_text("{}\n")
        save_file({"A": np.zeros(3, np.float32)}, folder / "adapter.safetensors")
    return folder


def dead_pid() -> int:
    """The number of a process that has ended."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def claimed(folder: Path, pid: int, host: str | None = None) -> Path:
    path = folder / "claim.json"
    holder = {"host": host or socket.gethostname(), "pid": pid, "token": "a" * 32, "slurm": None}
    path.write_text(json.dumps(holder))
    return path


def aged(path: Path, seconds: float = 7200) -> Path:
    """The file, made where it is not there, with the time stamp of some time ago."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
