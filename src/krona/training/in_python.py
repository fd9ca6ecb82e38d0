"""Use runs from Python: train a run (`krona.train`), or build its parts for your own ``pl.Trainer``.

docs/coming-from.md has an example.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from torch.utils.data import DataLoader

from krona import paths
from krona.config.compose import Composed, compose_job, hydra_session
from krona.config.overrides import find_sweep, normalize
from krona.messages import KronaError
from krona.paths import OUTPUTS
from krona.runs.result import Result
from krona.training.devices import Ranks
from krona.training.learner import Learner
from krona.training.plan import plan_run
from krona.training.run import build_learner
from krona.training.run_job import new_result, run_job


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


@dataclass(frozen=True, kw_only=True)
class Loaders:
    """The data loaders of a run.

    The order of the training batches depends on the seed and the epoch. The rows of dev and test are sorted by length.
    """

    train: DataLoader[Any]
    dev: DataLoader[Any]
    test: DataLoader[Any]


def module_and_loaders(config: Mapping[str, Any]) -> tuple[Learner, Loaders]:
    """Build the LightningModule and the loaders of a composed config (`krona.config.compose.compose_job`).

    ``trainer.fit(module, loaders.train, loaders.dev)`` trains in the same way as a run with this config, and gives the
    same weights on the same device. ``module.restore_best()`` then loads the weights of the best epoch.
    ``trainer.validate(module, loaders.dev)`` logs ``val/score``, and ``trainer.test(module, loaders.test)`` logs
    ``test/score``. ``trainer.predict(module, loaders.test)`` returns the prediction of each row, in the order of
    ``loaders.test.batch_sampler.order``. The module can train on one device only.

    Raises:
        KronaError: the config is invalid, or the data or the backbone that it names is missing.
    """
    # Lightning warns that a custom batch sampler may leave out rows, but `EvaluationBatches` includes all rows.
    warnings.filterwarnings("ignore", message="You are using a custom batch sampler `EvaluationBatches` for prediction")
    # The user's own classes are refused, because the config may come from someone else.
    plan = plan_run(Composed(config=dict(config)), OUTPUTS, own=False)
    module = build_learner(plan, new_result(plan), Ranks())
    module.prepare()
    data = module.data
    return module, Loaders(train=data.train, dev=data.dev.batches, test=data.test.batches)
