"""Start a Hydra program: normalise its arguments, print short errors, handle signals and set the exit code.

The exit codes are 0 (done), 1 (failed, or wrong input), 130 (interrupted by Ctrl-C), 141 (the output could not be
written, because its reader has ended) and 143 (terminated).
"""

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from krona.config.compose import help_text
from krona.config.hydra_interface import WRONG_INPUT, explain, option_parser
from krona.config.overrides import normalize
from krona.formatting import error_lines
from krona.messages import KronaError, escape_control_characters
from krona.paths import VERSION
from krona.runs.processes import (
    Interrupted,
    end_with_parent,
    exit_interrupted,
    interrupt,
    leave,
    limit_exit,
    require_one_launch,
)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Run the body as a program: end with its parent process, print short errors, handle signals, and exit."""
    trace = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises errors instead of printing a trace
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        end_with_parent()
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        limit_exit()
        exit_interrupted(error)
    except SystemExit as error:
        if isinstance(error.code, str):
            _fail(error.code)
        leave(error.code or 0)
    except BrokenPipeError:  # the reader (such as head) closed the pipe
        leave(128 + signal.SIGPIPE)
    except Exception as error:
        wrong_input = isinstance(error, WRONG_INPUT) or _raised_by_hydra(error)
        if trace or not wrong_input:
            raise
        _fail(explain(error))
    leave(0)


def read_options(config_name: str = "config") -> Namespace:
    """Normalise the overrides in ``sys.argv``, and return Hydra's own options. Print ``--help`` and ``--version``."""
    arguments = sys.argv[1:]
    if "--version" in arguments:  # Hydra would print its own version
        print(f"krona {VERSION}")
        leave(0)
    if {"-m", "--multirun"} & set(arguments):
        require_one_launch()
    _search_also(arguments)
    sys.argv[1:] = normalize(arguments)
    options = option_parser().parse_args(sys.argv[1:])
    if options.help:
        print(escape_control_characters(help_text(config_name, options.overrides)), end="")
        leave(0)
    return options


def _search_also(arguments: list[str]) -> None:
    """Set the environment variable KRONA_CONF to the folder of --config-dir. Child processes inherit the variable."""
    folder = option_parser().parse_known_args(arguments)[0].config_dir
    if folder is not None:
        if not Path(folder).is_dir():
            raise KronaError(f"The folder {folder} (--config-dir) was not found.")
        os.environ["KRONA_CONF"] = str(Path(folder).absolute())


def _fail(message: str) -> NoReturn:
    print(error_lines(message), file=sys.stderr)
    leave(1)


def _raised_by_hydra(error: Exception) -> bool:
    """Return whether the error comes from Hydra's own code, which also raises ValueError for wrong input."""
    module, frame = "", error.__traceback__
    while frame is not None:
        name = str(frame.tb_frame.f_globals.get("__name__", ""))
        module = module if name in ("pathlib", "os") else name  # ignore frames of pathlib and os
        frame = frame.tb_next
    return module.split(".")[0] in ("hydra", "omegaconf", "antlr4")
