"""Read .wandb files with W&B's own reader."""

import json
import subprocess
from pathlib import Path
from typing import Any

from wandb.util import get_core_path


def read_wandb(path: Path, *, summary: bool = False) -> Any:
    """Return the records of a .wandb file, or its summary."""
    # the program that `wandb leet inspect --json FILE` starts
    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json"]
    command += [*(["--summary"] if summary else []), "--run-file", str(path), str(path.parent.parent)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout) if summary else [json.loads(line) for line in done.stdout.splitlines()]


def history_of(path: Path) -> list[dict[str, Any]]:
    rows = [record["history"]["item"] for record in read_wandb(path) if record["type"] == "history"]
    return [row for row in rows if "dev/score" in row]  # rows of epochs, without those of the loss of steps
