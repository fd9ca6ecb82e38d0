"""How fast a card is at this work: fitted to runs that it has made.

A step takes ``per_block`` for each block of the model, whatever is in the batch (launches, Python), and its operations
at ``rate``. Two runs of different batches tell the two apart; with one, all of its time is taken for operations.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from krona.planning.lengths import Lengths
from krona.planning.work import Sizes, forward, step
from krona.results import Result
from krona.settings import Run

FEWEST_STEPS = 5  # of a run that says something about speed
ASSUMED_PER_BLOCK = 4e-4  # s: about a hundred launches forward and back; only where nothing was measured


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a run computes."""

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

    def training(self) -> tuple[float, float]:
        """Blocks that are passed and operations, of the whole run."""
        source = self.lengths.padded(self.micro_batch_size or self.batch_size)
        operations = step(self.sizes, rows=self.rows, source=source, all_train=self.all_train)
        return self.steps * self.passes() * self.sizes.blocks, self.steps * operations

    def evaluating(self) -> tuple[float, float]:
        """The same of dev after each epoch and of test once; batches are of like lengths, so hardly padded."""
        rows = self.evaluations * self.lengths.dev + self.test * self.lengths.test
        batches = self.evaluations * -(-self.lengths.dev // self.eval_batch_size)
        batches += self.test * -(-self.lengths.test // self.eval_batch_size)
        return batches * self.sizes.blocks, forward(self.sizes, rows=rows, source=self.lengths.mean)


def load_of(settings: Run, sizes: Sizes, lengths: Lengths, *, all_train: bool, ran: Result | None = None) -> Load:
    """Of a run that is planned, or of one that ran: then with the steps that it took."""
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
    """Of one card. ``methods``: a method's time over what its operations say, where it ran."""

    rate: float  # operations a second
    per_block: float  # s
    evaluation: float = 1.0
    setup: float = 0.0  # s
    methods: Mapping[str, float] = field(default_factory=dict)

    def training(self, load: Load) -> float:
        """Seconds of the whole run's training."""
        blocks, operations = load.training()
        return self.methods.get(load.method, 1.0) * (blocks * self.per_block + operations / self.rate)

    def evaluating(self, load: Load) -> float:
        blocks, operations = load.evaluating()
        return self.evaluation * (blocks * self.per_block + operations / self.rate)

    def on(self, factor: float) -> "Speed":
        """On a card that is so many times faster at operations; what a step takes besides stays."""
        return replace(self, rate=self.rate * factor)


def fit(ran: Iterable[tuple[Load, Result]]) -> Speed:
    """From runs of one card and one precision; at least one."""
    known = [(load, result) for load, result in ran if load.steps >= FEWEST_STEPS and result.times.get("train")]
    parts = np.array([load.training() for load, _ in known])
    seconds = np.array([result.times["train"] for _, result in known])
    rate, per_block = _two(parts, seconds)
    speed = Speed(rate, per_block)
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


def _two(parts: NDArray[np.float64], seconds: NDArray[np.float64]) -> tuple[float, float]:
    """Operations a second and seconds a block, by least squares of relative errors; neither below 0."""
    from scipy.optimize import nnls

    relative = parts / seconds[:, None]
    mixed = relative[:, 1] / relative[:, 0]
    if mixed.max() > 1.2 * mixed.min():  # batches or models that differ
        scale = relative.max(axis=0)  # 1e10 operations, a handful of blocks
        (blocks, operations), _ = nnls(relative / scale, np.ones(len(seconds)))
        if operations > 0:
            return float(scale[1] / operations), float(blocks / scale[0])
    of_operations = relative[:, 1]
    return float((of_operations**2).sum() / of_operations.sum()), 0.0
