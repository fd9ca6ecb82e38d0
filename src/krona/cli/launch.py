"""The command line around Hydra: a mistake is one message, and the exit code says how it went.

0 done, 1 failed or a mistake, 130 interrupted (Ctrl-C), 143 terminated.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from krona.config.choices import put_aside_other_launchers
from krona.config.overrides import explain, normalised
from krona.jobs.processes import Interrupted, leave
from krona.messages import KronaError
from krona.screen import as_typed
from krona.training.ranks import require_one_launch


def launch(main: Callable[[], Any], *, shown: Callable[[list[str]], str | None] | None = None) -> NoReturn:
    """Run a ``@hydra.main`` function as a person types it; or print what ``shown`` makes of the arguments."""
    arguments = sys.argv[1:]
    trace = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises, instead of printing a trace of its own
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        require_one_launch(arguments)
        sys.argv[1:] = ready = normalised(arguments)
        put_aside_other_launchers()
        text = None if shown is None else shown(ready)
        if text is not None:
            print(text, end="")
            leave(0)
        main()
    except (Interrupted, KeyboardInterrupt) as error:
        number = error.args[0] if error.args else signal.SIGINT
        print("interrupted: the same command goes on where it stopped", file=sys.stderr)
        leave(128 + int(number))
    except (KronaError, HydraException, OmegaConfBaseException) as error:
        if trace:
            raise
        print(as_typed(f"error: {explain(error, arguments)}"), file=sys.stderr)
        leave(1)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(as_typed(f"error: {error.code}"), file=sys.stderr)
            leave(1)
        leave(error.code or 0)
    except Exception as error:
        if trace or not _by_hydra(error):
            raise
        print(as_typed(f"error: {explain(error, arguments)}"), file=sys.stderr)
        leave(1)
    leave(0)


def _by_hydra(error: Exception) -> bool:
    """Whether Hydra itself raised it: it says what it does not like in what was typed, as a ValueError or worse."""
    module, frame = "", error.__traceback__
    while frame is not None:
        name = str(frame.tb_frame.f_globals.get("__name__", ""))
        module = module if name in ("pathlib", "os") else name  # what it asked of the disk
        frame = frame.tb_next
    return module.split(".")[0] in ("hydra", "omegaconf", "antlr4")


def _interrupt(number: int, frame: Any) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    raise Interrupted(number)
