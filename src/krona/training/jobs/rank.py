"""Run one rank of a run on several devices (``python -m krona.training.jobs.rank SPEC_FILE OUTCOME_FILE``).

`krona.training.jobs.start_ranks` starts this module in one process per device. Rank 0 writes the outcome to
OUTCOME_FILE.
"""

import os
import pickle
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from krona.messages import KronaError
from krona.runs.interrupts import Interrupted, interrupt
from krona.training.jobs.job import Job
from krona.training.jobs.library_warnings import quiet_libraries
from krona.training.jobs.run_job import run_on_devices
from krona.training.ranks import my_rank


def main() -> NoReturn:
    spec_file, outcome_file = map(Path, sys.argv[1:])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    quiet_libraries()
    outcome: Job | BaseException
    try:
        outcome = run_on_devices(pickle.loads(spec_file.read_bytes()), Console(soft_wrap=True))
    except (KronaError, Interrupted) as error:
        outcome = error
    failed = not isinstance(outcome, Job) or outcome.state == "failed"
    if my_rank() == 0:
        outcome_file.write_bytes(pickle.dumps(outcome))
    elif failed:
        print(outcome.error if isinstance(outcome, Job) else outcome)
    sys.exit(int(failed))


def _end_with_parent() -> None:
    """Kill this process when its parent ends.

    The parent never writes to the pipe at stdin, so the read returns only when the parent's end of the pipe is closed.
    """
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
