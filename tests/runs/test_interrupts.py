"""Test signals of which a library suppresses the exception."""

import signal
import sys

import pytest

from krona.runs.processes import Interrupted, forget_signals, interrupt, stop_if_interrupted


def test_a_signal_in_a_destructor_is_raised_later() -> None:
    class Interrupting:
        def __del__(self) -> None:
            interrupt(signal.SIGTERM, sys._getframe())

    before = signal.getsignal(signal.SIGTERM)
    try:
        Interrupting()
        with pytest.raises(Interrupted):
            stop_if_interrupted()
    finally:
        signal.signal(signal.SIGTERM, before)
        forget_signals()
    stop_if_interrupted()
