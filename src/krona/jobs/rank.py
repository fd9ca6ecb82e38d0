"""One rank of a run, started by `krona.jobs.start_ranks`: ``python -m krona.jobs.rank ORDER_FILE``."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from krona.jobs.processes import Interrupted, interrupt, quiet_libraries
from krona.jobs.run_job import run_job
from krona.messages import KronaError
from krona.training.ranks import my_rank


def main() -> NoReturn:
    order = json.loads(Path(sys.argv[1]).read_text())
    threading.Thread(target=end_with_parent, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    quiet_libraries()
    outcome: dict[str, Any]
    try:
        job = run_job(
            order["config"],
            notes=order["notes"],
            outputs=Path(order["outputs"]),
            project=Path(order["project"]),
            console=Console(soft_wrap=True),
            multirun=order["multirun"],
        )
        outcome = {"state": job.state, "error": job.error, "messages": job.messages}
    except KronaError as error:
        outcome = {"wrong": str(error)}
    except (Interrupted, KeyboardInterrupt) as stop:
        outcome = {"signal": int(stop.args[0]) if stop.args else int(signal.SIGINT)}
    failed = outcome.get("state") not in ("done", "skipped", "claimed_by_other")
    if my_rank() == 0:
        Path(order["outcome"]).write_text(json.dumps(outcome))
    elif failed:
        print(outcome.get("error") or outcome.get("wrong"))
    sys.exit(int(failed))


def end_with_parent() -> None:
    """Kill this process when stdin ends: the parent holds the other end of the pipe and never writes."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
