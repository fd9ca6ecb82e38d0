"""Run train.py: one job, or print the config of the job (--cfg job) or the states of the runs (--dry-run).

A job trains one model. A command has one job, or with -m (a multirun) one job for each combination of its values. The
exit codes are 0 (done), 1 (failed, or wrong input), 130 (interrupted by Ctrl-C), 141 (the output could not be written,
because its reader has ended) and 143 (terminated).
"""

import os
import re
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from krona.config.compose import build_job, compose_job, help_text, hydra_session, runs_folder, task_overrides
from krona.config.hydra_interface import WRONG_INPUT, explain, option_parser
from krona.config.overrides import expand, normalize
from krona.formatting import error_lines, say
from krona.messages import KronaError, escape_control_characters
from krona.paths import CONF, OUTPUTS, VERSION, conf_folders
from krona.runs.processes import (
    Interrupted,
    end_with_parent,
    exit_interrupted,
    interrupt,
    leave,
    limit_exit,
    my_rank,
    require_one_launch,
)

if TYPE_CHECKING:  # these imports take time that --help does not need
    from krona.runs.folder import RunState

SHAPES = re.compile(  # overrides that may make a method incompatible with its backbone
    r"[+~]*(method\.|backbone|factors|variant|experiment|max_source_length)"
)


def train() -> None:
    """Run train.py, or `krona train`, with the overrides in ``sys.argv``, and exit."""
    with exit_codes():
        options = read_options()
        if options.dry_run:
            from krona.sweeps import plan, status

            status.show(plan.list_states(options.overrides, outputs=OUTPUTS), Console(), outputs=OUTPUTS)
        elif options.cfg == "job" and not any((options.package, options.config_name, options.config_path)):
            # with a check and the run id; Hydra prints the other forms
            print(escape_control_characters(render_config(options)), end="")
        else:  # Hydra calls `job`, with -m once for each job
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()


def job(cfg: DictConfig) -> "RunState":
    """Run one job: the run of a command, or one run of a multirun."""
    from krona.runs.description import low_score, print_summary
    from krona.sweeps.multirun import run_one
    from krona.training.plan import plan_run
    from krona.training.run_job import run_job

    end_with_parent()  # joblib starts its worker processes with this function
    hydra_config, console = HydraConfig.get(), Console(soft_wrap=True, quiet=my_rank() > 0)
    overrides, multirun = task_overrides(hydra_config), hydra_config.mode == RunMode.MULTIRUN
    outputs = runs_folder(hydra_config, multirun=multirun)
    if multirun:
        return run_one(partial(build_job, cfg), overrides, outputs, hydra_config.job.num, console)
    try:
        plan = plan_run(build_job(cfg), outputs)
        done = run_job(replace(plan, overrides=overrides), console)
    except KronaError as error:
        raise SystemExit(str(error)) from error  # for other exceptions, Hydra prints an additional line
    if done.state == "done already" and done.messages:
        first, *others = done.messages
        for line in (f"{done.run_id}: {first}", *(f"  {message}" for message in others)):
            say(console, line)
    print_summary(done, console)
    if done.state in ("failed", "running"):
        raise SystemExit(done.error)
    if message := low_score(done, cfg.get("min_score")):
        raise SystemExit(message)
    return done


def render_config(options: Namespace) -> str:
    """Return the text of ``--cfg job``: the config as YAML, with the run id and notes as comments.

    Args:
        options: Hydra's options, with normalised overrides. In a multirun, the first job is shown.

    Raises:
        KronaError: a run would fail with the same message. Checks that need the Hub are skipped.
    """
    from krona.training.plan import insert_without_weights, plan_run, require_settings

    with hydra_session():
        jobs = expand(options.overrides) if options.multirun else [tuple(options.overrides)]
        job = compose_job(jobs[0])
    plan = plan_run(job, OUTPUTS, starts=False)
    require_settings(plan.settings, starts=False)
    # The check takes a few seconds, and is not needed for krona's own methods on the default backbone.
    has_own_configs, backbone = len(conf_folders()) > 1, plan.settings.backbone
    may_not_fit = has_own_configs or backbone.factor_shapes or any(map(SHAPES.match, job.overrides))
    used, notes = insert_without_weights(plan.settings) if may_not_fit else ({}, [])
    comments = [plan.run_id, *plan.notes, *notes]
    if len(jobs) > 1:
        comments.insert(0, f"the first of {len(jobs):,} runs: {' '.join(job.overrides)}")
    text: str = OmegaConf.to_yaml(OmegaConf.create(dict(plan.stored)))
    given, fitted = job.config["method"].get("kron_factors"), used.get("kron_factors")
    if fitted not in (None, given):
        text = text.replace("\n  kron_factors:\n", f"\n  kron_factors:  # on this backbone {fitted}\n", 1)
    return "".join(f"# {line}\n" for line in comments) + text


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
    if (folder := option_parser().parse_known_args(arguments)[0].config_dir) is not None:
        if not Path(folder).is_dir():
            raise KronaError(f"The folder {folder} (--config-dir) was not found.")
        os.environ["KRONA_CONF"] = str(Path(folder).absolute())  # child processes inherit the variable
    sys.argv[1:] = normalize(arguments)
    options = option_parser().parse_args(sys.argv[1:])
    if options.help:
        print(escape_control_characters(help_text(config_name, options.overrides)), end="")
        leave(0)
    return options


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
