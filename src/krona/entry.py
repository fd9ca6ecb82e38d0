"""The command line around Hydra: a mistake is one message, and the exit code says how it went.

0 done, 1 failed or a mistake, 130 interrupted (Ctrl-C), 143 terminated.
"""

import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from krona.compose import OUTPUTS, PROJECT, choices, composed, put_aside_other_launchers
from krona.distributed.ranks import my_rank, require_one_launch
from krona.errors import KronaError
from krona.invocation import as_typed
from krona.jobs import Interrupted, Job, run_job
from krona.summary import run_summary
from krona.sweeping import ledger
from krona.typed import message_of, prepared


def job(cfg: DictConfig) -> Job:
    """What train.py does with one composed config: run it, and never raise for a failed job of a multirun."""
    quiet_libraries()
    hydra = HydraConfig.get()
    multirun = hydra.mode == RunMode.MULTIRUN
    console = Console(soft_wrap=True, quiet=my_rank() > 0)
    try:
        done = _run(cfg, console, multirun=multirun)
    except KronaError as error:
        if not multirun:
            raise SystemExit(str(error)) from error  # Hydra would print a line of its own before an exception
        done = _not_run(hydra.overrides.task, str(error))
    except Exception as error:  # a fault of ours: the other jobs go on all the same
        if not multirun:
            raise
        traceback.print_exc()
        done = _not_run(hydra.overrides.task, f"{type(error).__name__}: {error}")
    _tell(done, console, multirun=multirun)
    if multirun and my_rank() == 0:
        ledger.note_job(done, number=hydra.job.num, overrides=hydra.overrides.task)
    return done


def _run(cfg: DictConfig, console: Console, *, multirun: bool) -> Job:
    ledger.require_outputs()
    run = composed(cfg)
    return run_job(run.config, notes=run.notes, outputs=OUTPUTS, project=PROJECT, console=console, multirun=multirun)


def _not_run(overrides: Sequence[str], error: str) -> Job:
    """A multirun's job that came to no run."""
    return Job(run_id=" ".join(overrides) or "job", state="failed", folder=OUTPUTS, error=error)


def _tell(done: Job, console: Console, *, multirun: bool) -> None:
    """Say what became of a job; a single one that came to nothing ends the program by its error."""
    wrong = done.state in ("failed", "elsewhere")
    if done.state == "skipped":
        console.print(f"{done.run_id}: {'; '.join(done.messages)}", highlight=False, markup=False)
    if multirun:
        if wrong:
            console.print(f"  {done.state}: {done.error}", highlight=False, markup=False)
        return
    run_summary(done, console)
    if wrong:
        raise SystemExit(done.error)


def bench(cfg: DictConfig) -> None:
    """What bench.py does with its config: measure, print, write and draw."""
    from hydra import compose
    from omegaconf import OmegaConf

    from krona.bench.entry import run_bench

    quiet_libraries()
    config: Any = OmegaConf.to_container(cfg.bench, resolve=True)

    def plain(overrides: list[str]) -> dict[str, Any]:
        values: Any = OmegaConf.to_container(compose("config", overrides=overrides), resolve=False)
        return {str(key): value for key, value in values.items()}

    console = Console(soft_wrap=True)
    console = console if console.is_terminal else Console(soft_wrap=True, width=180)  # a table whole in a file
    try:
        run_bench(config, compose=plain, methods=choices("method"), outputs=OUTPUTS, project=PROJECT, console=console)
    except KronaError as error:
        raise SystemExit(str(error)) from error  # Hydra would print a line of its own before an exception


def launch(main: Callable[[], Any], *, shown: Callable[[list[str]], str | None] | None = None) -> NoReturn:
    """Run a ``@hydra.main`` function as a person types it; or print what ``shown`` makes of the arguments."""
    arguments = sys.argv[1:]
    trace = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises, instead of printing a trace of its own
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        require_one_launch(arguments)
        sys.argv[1:] = ready = prepared(arguments)
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
        print(as_typed(f"error: {message_of(error, arguments)}"), file=sys.stderr)
        leave(1)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(as_typed(f"error: {error.code}"), file=sys.stderr)
            leave(1)
        leave(error.code or 0)
    except Exception as error:
        if trace or not _by_hydra(error):
            raise
        print(as_typed(f"error: {message_of(error, arguments)}"), file=sys.stderr)
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


def leave(code: int) -> NoReturn:
    """End with an exit code; output that nobody reads any more is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def quiet_libraries() -> None:
    """Silence what is understood, one by one; everything else is still heard."""
    # Lightning greets with the devices that it found and a tip: provenance has the device.
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    # Lightning repeats a SIGTERM: this module's own handler says what it means.
    logging.getLogger("pytorch_lightning.trainer.connectors.signal_connector").setLevel(logging.WARNING)
    # Lightning advises more loader workers; collating these short rows takes less than starting one.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Lightning finds the run's folder not empty: it holds the claim and the log.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # Lightning advises srun wherever it is installed; who starts a run's ranks is `krona.distributed.ranks`' to say.
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system")
    # torch warns of a block's output that is a view: T5 changes none of them in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    # torch deprecates what Lightning's copy of its pytree code asks: nothing to do here.
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    # The frozen backbone stays in eval mode until on_train_epoch_start puts it in train mode.
    warnings.filterwarnings("ignore", message=".*module.* in eval mode.*")


def _interrupt(number: int, frame: Any) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    raise Interrupted(number)
