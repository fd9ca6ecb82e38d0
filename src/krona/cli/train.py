"""Run one job of train.py, or print the config of the job (--cfg job).

A job trains one model. A command has one job, or with -m (a multirun) one job for each combination of its values.
"""

import re
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from krona.cli.launch import exit_codes, read_options
from krona.config.compose import build_job, compose_job, hydra_session, runs_folder, task_overrides
from krona.config.overrides import expand
from krona.formatting import say
from krona.messages import KronaError, escape_control_characters
from krona.paths import CONF, OUTPUTS, conf_folders
from krona.runs.processes import end_with_parent, my_rank

if TYPE_CHECKING:  # these imports take time that --help does not need
    from krona.config.settings import RunSettings
    from krona.runs.folder import RunState

SHAPES = re.compile(  # overrides that may make a method incompatible with its backbone
    r"[+~]*(method\.|backbone|factors|variant|experiment|max_source_length)"
)


def train() -> None:
    """Run train.py, or `krona train`, with the overrides in ``sys.argv``, and exit."""
    with exit_codes():
        options = read_options()
        if options.dry_run:
            show_states(options.overrides)
        elif renders_config(options):
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


def show_states(overrides: Sequence[str]) -> None:
    """Print the runs of the command with their states (``--dry-run``)."""
    from krona.sweeps import plan, status

    status.show(plan.list_states(overrides, outputs=OUTPUTS), Console(), outputs=OUTPUTS)


def renders_config(options: Namespace) -> bool:
    """Return whether krona itself prints the config, with a check and the run id. Hydra prints the other forms."""
    return options.cfg == "job" and not any((options.package, options.config_name, options.config_path))


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
    used, notes = insert_without_weights(plan.settings) if _may_not_fit(plan.settings, job.overrides) else ({}, [])
    comments = [plan.run_id, *plan.notes, *notes]
    if len(jobs) > 1:
        comments.insert(0, f"the first of {len(jobs):,} runs: {' '.join(job.overrides)}")
    text: str = OmegaConf.to_yaml(OmegaConf.create(dict(plan.stored)))
    given, fitted = job.config["method"].get("kron_factors"), used.get("kron_factors")
    if fitted not in (None, given):
        text = text.replace("\n  kron_factors:\n", f"\n  kron_factors:  # on this backbone {fitted}\n", 1)
    return "".join(f"# {line}\n" for line in comments) + text


def _may_not_fit(settings: "RunSettings", overrides: Sequence[str]) -> bool:
    """Return whether the method may be incompatible with the backbone, and must therefore be inserted as a check.

    The check takes a few seconds, and is not needed for krona's own methods on the default backbone.
    """
    has_own_configs = len(conf_folders()) > 1
    return has_own_configs or bool(settings.backbone.factor_shapes) or any(map(SHAPES.match, overrides))
