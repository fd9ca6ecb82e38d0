"""Test a job of a sweep in the process that runs it."""

import signal
from types import SimpleNamespace
from typing import Any

import pytest
import submitit

from krona.jobs.interrupts import Interrupted, interrupt
from krona.sweeps.launchers.sweep_job import Requeued


def test_a_requeued_run_ends_by_the_signal_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitit, "JobEnvironment", lambda: SimpleNamespace(USR_SIG="USR2"))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}

    def told_to_stop() -> Any:
        signal.signal(signal.SIGTERM, interrupt)
        raise Interrupted(signal.SIGUSR2)

    try:
        with pytest.raises(SystemExit) as end:
            Requeued(told_to_stop)()  # type: ignore[arg-type]
        assert end.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "a second Interrupted would come while it ends"
    finally:
        for number, known in before.items():
            signal.signal(number, known)
