"""Test the command `krona tune`: its last lines, and its exit code after a signal."""

import shlex
import signal
from unittest.mock import Mock

import pytest

from krona.runs.interrupts import Interrupted
from krona.runs.studies import Study, Trial

pytest.importorskip("optuna", reason="pip install -e '.[tune]'")

from krona.sweeps import tune_command as typed_command


def test_the_final_command_can_be_pasted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    own = ("optimizer.lr=0.003", "factors=2x384")
    best = Trial(3, "finished", 71.5, {}, "krona-rte-1", overrides=own)
    monkeypatch.setattr(typed_command, "tune", lambda *args, **kwargs: (Study("s", [best] * 10), best))
    typed = ["method=krona", "data.path=my data/rte", "method.kron_factors=[[16,12]]", "trainer.threads=1"]
    typed_command.tune_here(typed, trials=10, space=None, study=None, workers=1, seed=0)
    first, line = capsys.readouterr().out.splitlines()
    assert first == "best of 10 trials: dev 71.50, krona-rte-1"
    words = shlex.split(line)
    assert words[1].endswith("train.py")
    assert words[2:] == [*typed, *own]


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (Interrupted(signal.SIGTERM), 143)])
def test_an_interrupt_has_its_exit_code(
    stop: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(typed_command, "tune", Mock(side_effect=stop))
    with pytest.raises(SystemExit) as caught:
        typed_command.tune_here(["method=krona"], trials=1, space=None, study=None, workers=1, seed=0)
    assert caught.value.code == code
    assert capsys.readouterr().err == "Interrupted. Run the same command again to resume.\n"
