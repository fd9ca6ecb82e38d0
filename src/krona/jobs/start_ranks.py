"""Start the ranks of one run on this machine and watch them (``trainer.devices=4``).

The watching process is not a rank. It starts one process per device and passes each the run's config in a file, so a
sweep is launched once. It can end all ranks when one has died, while a rank may wait in a GPU's exchange for ever.

torch.distributed.run does not replace it: when a rank is killed, its agent sends SIGTERM to rank 0 while that records
what happened, and ranks outlive an agent that is killed. Ranks that torchrun or srun started are supported
(`krona.training.ranks`).
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

from krona.jobs.job import Job, JobSpec
from krona.jobs.processes import Child
from krona.training.ranks import LOST

POLL_S = 0.1
GRACE_S = 20.0  # for rank 0 to record what happened, before it is killed


def run_by_ranks(spec: JobSpec, *, devices: int) -> Job:
    """Run a job in ``devices`` processes. A rank that is killed or fails ends the others; the job's error names it.

    Raises:
        KronaError: from rank 0.
        Interrupted: this process or rank 0 was interrupted; rank 0 has recorded it.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    with tempfile.TemporaryDirectory(prefix="krona-") as name:
        folder = Path(name)
        (folder / "spec").write_bytes(pickle.dumps(spec))
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # on a free port
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
            result = spec.run.state()[1]
            return Job(spec.run_id, "failed", spec.folder, result, _what_happened(ranks, lost or 0, folder))
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _start(folder: Path, rank: int, devices: int, port: int) -> Child:
    """One rank, with torchrun's variables. It ends with its stdin, so it never outlives this process."""
    variables = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": devices, "LOCAL_WORLD_SIZE": devices,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": uuid.uuid4().hex, "TORCHELASTIC_USE_AGENT_STORE": True,
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", "krona.jobs.rank", str(folder / "spec"), str(folder / "outcome")]
    output = None if rank == 0 else (folder / f"rank-{rank}.log").open("wb")
    try:
        return subprocess.Popen(
            command,
            env={**os.environ, **{name: str(value) for name, value in variables.items()}},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process only, which passes it to rank 0
        )
    finally:
        if output is not None:
            output.close()


def _watch(ranks: Sequence[Child]) -> int | None:
    """Wait until rank 0 has ended; the first rank that failed, if any."""
    while (failed := _failed(ranks)) is None and ranks[0].poll() is None:
        time.sleep(POLL_S)
    _wait(ranks[0])
    return _failed(ranks) if failed is None else failed


def _failed(ranks: Sequence[Child]) -> int | None:
    return next((rank for rank, process in enumerate(ranks) if process.poll() not in (None, 0)), None)


def _wait(process: Child) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)


def _what_happened(ranks: Sequence[Child], lost: int, folder: Path) -> str:
    code = ranks[lost].returncode
    if code < 0:
        what = f"was killed by signal {-code} ({signal.Signals(-code).name})"
    else:
        log = folder / f"rank-{lost}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        what = f"ended with exit code {code}" + (f": {lines[-1]}" if lines else "")
    who = f"process {lost} of {len(ranks)} of this run"
    return f"{who} {what}; the others were stopped, and the same command resumes after the last epoch that ended"
