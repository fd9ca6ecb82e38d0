"""The speed of a card at training a backbone, fitted to its finished runs.

A step takes ``per_block`` for each block of the model, whatever is in the batch (launches, Python), ``per_element`` for
each number between the products, and its operations at ``rate``. Runs of different batches separate blocks from the
rest; runs of models of different widths separate numbers from operations, of which a wider model has more per number.
Parts that the runs do not separate count as operations.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from krona.backbones.families import Sizes
from krona.config.settings import Run
from krona.outputs.result import Result
from krona.sweeps.planning.flops import elements, forward, step
from krona.sweeps.planning.lengths import Lengths

FEWEST_STEPS = 5  # of a run that is used
APART = 1.2  # runs whose shares of a part differ by this factor separate it from operations
Parts = tuple[float, float, float]  # blocks, numbers between products, operations
ASSUMED_PER_BLOCK = 4e-4  # s: about a hundred launches forward and back; only where nothing was measured


@dataclass(frozen=True, kw_only=True)
class Load:
    """The work of a run."""

    method: str
    sizes: Sizes
    lengths: Lengths
    batch_size: int
    micro_batch_size: int | None
    eval_batch_size: int
    steps: int
    evaluations: int  # of dev
    test: bool
    all_train: bool

    @property
    def rows(self) -> float:
        """Of a step, on average: the last of an epoch is smaller."""
        return self.lengths.train / -(-self.lengths.train // self.batch_size)

    def passes(self) -> int:
        """Forward and backward passes of a step."""
        return -(-self.batch_size // (self.micro_batch_size or self.batch_size))

    def training(self) -> Parts:
        """Of the whole run; numbers twice, forward and back."""
        source = self.lengths.padded(self.micro_batch_size or self.batch_size)
        operations = step(self.sizes, rows=self.rows, source=source, all_train=self.all_train)
        numbers = 2 * elements(self.sizes, rows=self.rows, source=source)
        return self.steps * self.passes() * self.sizes.blocks, self.steps * numbers, self.steps * operations

    def evaluating(self) -> Parts:
        """The same of dev after each epoch and of test once; batches have similar lengths, so little padding."""
        rows = self.evaluations * self.lengths.dev + self.test * self.lengths.test
        batches = self.evaluations * -(-self.lengths.dev // self.eval_batch_size)
        batches += self.test * -(-self.lengths.test // self.eval_batch_size)
        source = self.lengths.mean
        numbers = elements(self.sizes, rows=rows, source=source)
        return batches * self.sizes.blocks, numbers, forward(self.sizes, rows=rows, source=source)


def load_of(settings: Run, sizes: Sizes, lengths: Lengths, *, all_train: bool, ran: Result | None = None) -> Load:
    """The load of a planned run; of one that ran, with the steps that it took."""
    trainer, by_epoch = settings.trainer, -(-lengths.train // settings.batch_size)
    steps = by_epoch * trainer.max_epochs
    if trainer.max_steps >= 0:
        steps = min(steps, trainer.max_steps) if trainer.max_epochs else trainer.max_steps
    if ran is not None:
        steps = int(ran.dev_curve[-1]["step"])
    return Load(
        method=settings.method.name, sizes=sizes, lengths=lengths, batch_size=settings.batch_size,
        micro_batch_size=settings.micro_batch_size, eval_batch_size=trainer.eval_batch_size, steps=steps,
        evaluations=max(1, -(-steps // by_epoch)), test=settings.score_test, all_train=all_train,
    )  # fmt: skip


@dataclass(frozen=True)
class Speed:
    """The speed of one card. ``methods``: a method's time over that of its operations, where it ran."""

    rate: float  # operations a second
    per_block: float  # s
    per_element: float = 0.0  # s
    evaluation: float = 1.0
    setup: float = 0.0  # s
    methods: Mapping[str, float] = field(default_factory=dict)

    def training(self, load: Load) -> float:
        """Seconds of the whole run's training."""
        return self.methods.get(load.method, 1.0) * self._of(load.training())

    def evaluating(self, load: Load) -> float:
        return self.evaluation * self._of(load.evaluating())

    def _of(self, parts: Parts) -> float:
        blocks, numbers, operations = parts
        return blocks * self.per_block + numbers * self.per_element + operations / self.rate

    def on(self, factor: float) -> "Speed":
        """The speed of a card that computes ``factor`` times as fast; launches stay."""
        return replace(self, rate=self.rate * factor, per_element=self.per_element / factor)


def fit(ran: Iterable[tuple[Load, Result]]) -> Speed:
    """The speed from runs of one card and one precision; at least one."""
    known = [(load, result) for load, result in ran if load.steps >= FEWEST_STEPS and result.times.get("train")]
    parts = np.array([load.training() for load, _ in known])
    seconds = np.array([result.times["train"] for _, result in known])
    speed = Speed(*_apart(parts, seconds))
    ratios: dict[str, list[float]] = defaultdict(list)
    for load, result in known:
        ratios[load.method].append(result.times["train"] / speed.training(load))
    evaluation = [r.times["evaluate"] / speed.evaluating(load) for load, r in known if r.times.get("evaluate")]
    return replace(
        speed,
        methods={method: median(found) for method, found in ratios.items()},
        evaluation=median(evaluation) if evaluation else 1.0,
        setup=median(result.times.get("setup", 0.0) for _, result in known),
    )


def _apart(parts: NDArray[np.float64], seconds: NDArray[np.float64]) -> tuple[float, float, float]:
    """Operations a second, seconds a block and a number, by least squares of relative errors; none below 0."""
    from scipy.optimize import nnls

    relative = parts / seconds[:, None]
    shares = relative[:, :2] / relative[:, 2:]
    separate = [part for part in (0, 1) if shares[:, part].max() > APART * shares[:, part].min()][: len(seconds) - 1]
    while separate:
        columns = [*separate, 2]
        scale = relative[:, columns].max(axis=0)  # 1e10 operations, a handful of blocks
        found = nnls(relative[:, columns] / scale, np.ones(len(seconds)))[0] / scale
        if found[-1] > 0:
            costs = dict(zip(columns, map(float, found), strict=True))
            return 1 / costs[2], costs.get(0, 0.0), costs.get(1, 0.0)
        separate.pop()
    of_operations = relative[:, 2]
    return float((of_operations**2).sum() / of_operations.sum()), 0.0, 0.0
