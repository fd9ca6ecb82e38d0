"""Build the LightningModule and the data loaders of a config, for use with your own ``pl.Trainer``.

docs/coming-from.md has an example.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader

from krona.config.compose import Composed
from krona.paths import OUTPUTS
from krona.training.claimed_run import new_result
from krona.training.devices import Ranks
from krona.training.learner import Learner
from krona.training.plan import plan_run
from krona.training.run import build_learner


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
    module, _ = build_learner(plan, new_result(plan), Ranks())
    module.prepare()
    data = module.data
    return module, Loaders(train=data.train, dev=data.dev.batches, test=data.test.batches)
