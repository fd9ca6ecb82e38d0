"""Start the ranks of one run on this machine and watch them (``trainer.devices=4``).

A rank is one of the processes that train a model together. The process that executes this module is not a rank. It
starts one rank per device and passes the job's specification to each rank in a file. If a rank dies, this process ends
all other ranks, which might otherwise wait for the dead rank forever.

PyTorch's launcher (torchrun) is not used for two reasons. When a rank is killed, the launcher sends SIGTERM to rank 0
while rank 0 records the reason. When the launcher is killed, the ranks continue. Users can nevertheless start the ranks
of a run with torchrun or srun (`krona.training.ranks`).
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from krona.training.jobs.child_processes import Child
from krona.training.jobs.job import Job, JobSpec
from krona.training.ranks import LOST

POLL_S = 0.1  # seconds between two checks of the ranks
GRACE_S = 20.0  # seconds for rank 0 to record the reason before it is killed


def run_by_ranks(spec: JobSpec, *, devices: int) -> Job:
    """Run a job in ``devices`` new processes, and return the job with its outcome.

    If a rank fails or is killed, all other ranks are ended, and the job's error describes the failure.

    Raises:
        KronaError: rank 0 raised this error.
        Interrupted: this process or rank 0 was interrupted. Rank 0 has recorded the interrupt.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    with tempfile.TemporaryDirectory(prefix="krona-") as name:
        folder = Path(name)
        (folder / "spec").write_bytes(pickle.dumps(spec))
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # 0 chooses a free port
        ranks = [_start(folder, rank, devices, store.port) for rank in range(devices)]
        try:
            lost = _watch(ranks)
        except BaseException:
            ranks[0].terminate()
            _wait(ranks[0])
            raise
        finally:
            for process in ranks:
                process.kill()
                process.wait()
                assert process.stdin is not None
                process.stdin.close()
        path = folder / "outcome"
        outcome: Job | BaseException | None = pickle.loads(path.read_bytes()) if path.is_file() else None
        if outcome is None or (lost is not None and isinstance(outcome, Job) and str(outcome.error).startswith(LOST)):
            error = _describe_loss(ranks, lost or 0, folder)
            return Job(spec.run_id, "failed", spec.folder, spec.run.state().result, error)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _start(folder: Path, rank: int, devices: int, port: int) -> Child:
    """Start one rank with the environment variables of torchrun.

    The rank ends when its stdin is closed, so it never continues after the end of this process.
    """
    variables = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": devices, "LOCAL_WORLD_SIZE": devices,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": uuid.uuid4().hex, "TORCHELASTIC_USE_AGENT_STORE": True,
    }  # fmt: skip
    with (folder / f"rank-{rank}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "krona.training.jobs.rank", str(folder / "spec"), str(folder / "outcome")],
            env={**os.environ, **{name: str(value) for name, value in variables.items()}},
            stdin=subprocess.PIPE,
            stdout=None if rank == 0 else log,
            stderr=None if rank == 0 else log,
            start_new_session=True,  # only this process receives Ctrl-C, and it terminates rank 0
        )


def _watch(ranks: Sequence[Child]) -> int | None:
    """Wait until rank 0 has ended. Return the number of the rank that failed first, or None if all succeeded."""
    while (failed := _first_failed(ranks)) is None and ranks[0].poll() is None:
        time.sleep(POLL_S)
    _wait(ranks[0])
    return _first_failed(ranks) if failed is None else failed


def _first_failed(ranks: Sequence[Child]) -> int | None:
    return next((rank for rank, process in enumerate(ranks) if process.poll() not in (None, 0)), None)


def _wait(process: Child) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)


def _describe_loss(ranks: Sequence[Child], lost: int, folder: Path) -> str:
    code = ranks[lost].returncode
    if code < 0:
        reason = f"was killed by signal {-code} ({signal.Signals(-code).name})"
    else:
        lines = (folder / f"rank-{lost}.log").read_text(errors="replace").strip().splitlines()
        reason = f"ended with exit code {code}" + (f": {lines[-1]}" if lines else "")
    return (
        f"process {lost} of {len(ranks)} of this run {reason}. The other processes were stopped. The same command "
        "resumes the run after the last finished epoch."
    )
