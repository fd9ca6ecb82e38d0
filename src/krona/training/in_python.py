"""Train a run from Python: `krona.train`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from krona import paths
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import find_sweep, normalize
from krona.messages import KronaError
from krona.runs.result import Result
from krona.training.plan import plan_run
from krona.training.run_job import run_job


def train(overrides: Sequence[str], *, outputs: Path | str | None = None, quiet: bool = False) -> Result:
    """Train one run and return its result. A finished run is not repeated, and an interrupted run resumes.

    Args:
        overrides: the arguments of ``python train.py``, such as ``["method=lora", "task=rte", "seed=1"]``.
        outputs: the folder that contains the run's folder. None means outputs/.
        quiet: whether to suppress all output.

    Raises:
        KronaError: an override is invalid or has several values, the run failed, or another process works on the run.
    """
    if isinstance(overrides, str | Mapping):
        raise KronaError("krona.train expects a list of overrides: krona.train(['method=lora', 'task=rte'])")
    if several := find_sweep(overrides):
        raise KronaError(f"{several} has several values, but krona.train trains one run. Call it once for each value.")
    with hydra_session():
        job = compose_job(normalize(list(overrides)))
    plan = plan_run(job, paths.OUTPUTS if outputs is None else Path(outputs))
    done = run_job(plan, Console(quiet=quiet))
    if done.error is not None or done.result is None:
        raise KronaError(done.error or f"{done.run_id} has no result.")
    return done.result
