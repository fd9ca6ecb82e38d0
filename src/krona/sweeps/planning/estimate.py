"""Time, memory and disk of each run of a sweep and of the whole sweep, with the assumptions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from krona import surgery
from krona.backbones import load as backbones
from krona.backbones.families import find_family
from krona.backbones.with_method import insert_method
from krona.config import check
from krona.config.settings import Run
from krona.messages import KronaError
from krona.outputs.result import Result
from krona.sweeps.plan import Planned
from krona.sweeps.planning.cards import Card
from krona.sweeps.planning.flops import memory
from krona.sweeps.planning.lengths import Lengths, lengths_of
from krona.sweeps.planning.speed import Load, Speed, load_of

RESULT_BYTES = 25_000  # result.json, metrics.csv, train.log
PREDICTION_BYTES = 250  # a row of dev or test in predictions.jsonl
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One run. Seconds and bytes."""

    overrides: tuple[str, ...]
    method: str
    task: str
    seconds: float
    memory: float
    disk: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The unfinished runs of a sweep on a card."""

    card: str
    hours: float
    price: float | None  # dollars an hour
    money: float | None
    memory: float  # of the largest run
    memory_of_card: float | None
    disk: float
    done: int
    runs: list[Cost] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)


class Workloads:
    """Loads of runs; each backbone is built on the meta device once, each task's tokens are counted once."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def of(self, settings: Run, ran: Result | None = None) -> tuple[Load, int]:
        """A run's load and its trainable parameters."""
        backbone = settings.backbone
        model = self._once(lambda: backbones.meta_model(backbone), backbone)
        family = find_family(model.config, backbone.path or backbone.name)
        sizes = family.sizes(model.config, sum(p.numel() for p in model.parameters()))
        of_data = (settings.task, settings.data, backbone, settings.max_source_length)
        lengths: Lengths = self._once(lambda: lengths_of(settings, family), of_data)
        if ran is None:
            trainable: int = self._once(lambda: _trainable(model, settings), (settings.method, backbone))
        else:
            trainable = (ran.trainable_params or 0) + (ran.head_params or 0)
        return load_of(settings, sizes, lengths, all_train=trainable >= sizes.params // 2, ran=ran), trainable

    def _once(self, make: Callable[[], Any], key: Any) -> Any:
        if repr(key) not in self._known:
            self._known[repr(key)] = make()
        return self._known[repr(key)]


def _trainable(model: Any, settings: Run) -> int:
    insert_method(model, settings.method, counterparts=settings.backbone.factor_shapes)
    try:
        count = surgery.count(model)
        return count.trainable + count.head
    finally:
        surgery.take_out(model)


def estimate(
    planned: Sequence[Planned], *, card: Card | None, device: str, speed: Speed, price: float | None,
    said: Sequence[str], workloads: Workloads,
) -> Plan:  # fmt: skip
    """``card``: None where ``device`` is no card of the list. ``said``: the speed in words."""
    todo = [run for run in planned if run.state != "done"]
    costs, guessed, unmeasured = [], set(), set()
    for run in todo:
        if run.config is None:
            raise KronaError(f"{' '.join(run.overrides)}: {run.error}")
        settings = check.settings(run.config, own=True)
        load, trainable = workloads.of(settings)
        costs.append(_cost(run, settings, load, trainable, speed))
        guessed |= set() if load.lengths.counted else {settings.task.name}
        unmeasured |= set() if load.method in speed.methods else {load.method}
    hours = sum(cost.seconds for cost in costs) / 3600
    rate = price if price is not None else card.price if card else None
    return Plan(
        card=card.name if card else device, hours=hours, price=rate, money=None if rate is None else hours * rate,
        memory=max((cost.memory for cost in costs), default=0.0), memory_of_card=card.memory * GIB if card else None,
        disk=sum(cost.disk for cost in costs), done=len(planned) - len(todo), runs=costs,
        assumptions=[*said, *_assumptions(guessed, unmeasured, price is None and rate is not None)],
    )  # fmt: skip


def _cost(run: Planned, settings: Run, load: Load, trainable: int, speed: Speed) -> Cost:
    rows = settings.micro_batch_size or settings.batch_size
    everything = settings.keep == "all" or not load.all_train
    return Cost(
        overrides=run.overrides, method=load.method, task=settings.task.name,
        seconds=speed.setup + speed.training(load) + speed.evaluating(load),
        memory=memory(
            load.sizes, rows=rows, source=load.lengths.padded(rows), trainable=trainable,
            precision=settings.trainer.precision,
        ),
        disk=RESULT_BYTES + PREDICTION_BYTES * (load.lengths.dev + load.lengths.test) + 4 * trainable * everything,
    )  # fmt: skip


def _assumptions(guessed: set[str], unmeasured: set[str], listed_price: bool) -> list[str]:
    lines = ["Every run to its last epoch, on one card, one after the other; an unfinished run counts whole."]
    if guessed:
        known = "are GLUE's known ones, not counted here (tokens to about 15 %)"
        lines.append(f"Rows and mean lengths of {', '.join(sorted(guessed))} {known}.")
    if unmeasured:
        by = "time by operations alone; branches have taken 2 to 15 % more"
        lines.append(f"No run of {', '.join(sorted(unmeasured))} there yet: {by}.")
    lines.append("Memory and disk are from sizes, not measured.")
    if listed_price:
        lines.append("The price is conf/cards.yaml's, an assumption: --price DOLLARS_AN_HOUR")
    return lines
