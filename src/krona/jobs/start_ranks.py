"""``trainer.devices=4``: start the ranks of one run, watch over them, and say what became of it.

The process that was typed is no rank: it starts one process a device and waits. Each gets the one run's composed
config, in a file, so a sweep's jobs are launched once, by the sweep's own process, whatever launcher it has. And a
process that only watches can end all ranks when one is gone, where a rank may stand in a GPU's exchange for ever.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from krona.training.ranks import LOST

LOOK_S = 0.1  # how often the ranks are looked at
GRACE_S = 20.0  # for rank 0 to write down what happened, before it is ended


def outcome_of_ranks(order: Mapping[str, Any], *, devices: int) -> dict[str, Any]:
    """Do what ``order`` says (the arguments of `krona.jobs.rank`) in ``devices`` processes.

    Returns rank 0's word: ``state``, ``error`` and ``messages`` of the job, or ``wrong``, the user's mistake, or
    ``signal``, what it was sent. A rank that was killed, or ended by an error of its own, ends the others; then
    ``error`` says which.

    Raises:
        Interrupted: what this process was sent; rank 0 has written down where the run stands.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    with tempfile.TemporaryDirectory(prefix="krona-") as name:
        folder = Path(name)
        (folder / "order.json").write_text(json.dumps({**order, "outcome": str(folder / "outcome.json")}))
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # takes a port that is free
        ranks = [_start(folder, rank, devices, store.port) for rank in range(devices)]
        try:
            lost = _watch(ranks)
        except BaseException:
            ranks[0].terminate()
            _wait(ranks[0], GRACE_S)
            raise
        finally:
            for process in ranks:
                process.kill()
                process.wait()
                assert process.stdin is not None
                process.stdin.close()
        path = folder / "outcome.json"
        outcome: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        if lost is None and not outcome:
            lost = 0
        if lost is not None and (not outcome or str(outcome.get("error")).startswith(LOST)):
            outcome = {"state": "failed", "error": _what_happened(ranks, lost, folder), "messages": []}
        return outcome


def _start(folder: Path, rank: int, devices: int, port: int) -> "subprocess.Popen[bytes]":
    """One rank, with torchrun's variables. It ends when the pipe to it does, so never outlives this process."""
    variables = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": devices, "LOCAL_WORLD_SIZE": devices,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": uuid.uuid4().hex, "TORCHELASTIC_USE_AGENT_STORE": True,
    }  # fmt: skip
    command = [sys.executable, "-m", "krona.jobs.rank", str(folder / "order.json")]
    output = None if rank == 0 else (folder / f"rank-{rank}.log").open("wb")
    try:
        return subprocess.Popen(
            command,
            env={**os.environ, **{name: str(value) for name, value in variables.items()}},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes here alone, and from here to rank 0
        )
    finally:
        if output is not None:
            output.close()


def _watch(ranks: "list[subprocess.Popen[bytes]]") -> int | None:
    """Wait until rank 0 has ended; the first rank that ended otherwise than well, where one did."""
    while ranks[0].poll() is None:
        lost = next((rank for rank, process in enumerate(ranks) if process.poll() not in (None, 0)), None)
        if lost is not None:
            _wait(ranks[0], GRACE_S)
            return lost
        time.sleep(LOOK_S)
    return 0 if ranks[0].returncode else next((r for r, p in enumerate(ranks) if p.poll() not in (None, 0)), None)


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _what_happened(ranks: "list[subprocess.Popen[bytes]]", lost: int, folder: Path) -> str:
    code = ranks[lost].returncode
    who = f"process {lost} of {len(ranks)} of this run"
    if code < 0:
        what = f"was killed by signal {-code} ({signal.Signals(-code).name})"
    else:
        log = folder / f"rank-{lost}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        what = f"ended with exit code {code}" + (f": {lines[-1]}" if lines else "")
    return f"{who} {what}; the others were stopped, and the same command goes on after the last epoch that ended"
