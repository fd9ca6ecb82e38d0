"""`krona table N --dry-run --plan`: the plan of a table's runs, printed or as JSON."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.text import Text

from krona.messages import KronaError, amount
from krona.outputs.index import summaries
from krona.outputs.result import Result
from krona.paths import conf_folders, first_of
from krona.screen import duration, say, table, width_of
from krona.sweeps.plan import plan as planned_runs
from krona.sweeps.planning.cards import card_named, card_of, read_cards
from krona.sweeps.planning.estimate import GIB, Cost, Plan, Workloads, estimate
from krona.sweeps.planning.measured import Wanted, assumed_speed, speed_of
from krona.training.machine import cpu_count, device_name


def plan_sweep(
    overrides: Sequence[str], *, outputs: Path, card: str | None, price: float | None, efficiency: float | None
) -> Plan:
    """Raises KronaError for an unknown card, a card of unknown speed, and settings that can't run."""
    cards = read_cards(first_of(conf_folders(), "cards.yaml"))
    device = device_name()
    chosen = card_of(card, cards) if card is not None else card_named(device, cards)
    if efficiency is not None and (chosen is None or not 0 < efficiency <= 1):
        raise KronaError(f"--efficiency {efficiency:g}: above 0 and at most 1, of a card that --card names")
    if price is not None and not math.isfinite(price):
        raise KronaError(f"--price {price:g}: expected dollars an hour, as 2.5")
    runs = planned_runs(overrides, outputs=outputs)
    composed = [run.config for run in runs if run.config is not None]
    trainer = composed[0]["trainer"] if composed else {}
    threads = trainer.get("threads") or cpu_count()
    wanted = Wanted(
        card=chosen,
        device=device,
        threads=threads,
        precision=str(trainer.get("precision", "32-true")),
        backbone=str(composed[0]["backbone"]["name"]) if composed else "",
        sizes=composed[0]["backbone"]["sizes"] if composed else None,
    )
    workloads = Workloads()
    if efficiency is not None and chosen is not None:
        speed, said = assumed_speed(chosen, wanted.precision, efficiency)
    else:
        results = [found for found in summaries(outputs) if isinstance(found, Result)]
        speed, said = speed_of(wanted, results, cards, workloads, calibrate=_calibration(overrides))
    return estimate(runs, card=chosen, device=wanted.name, speed=speed, price=price, said=said, workloads=workloads)


def _calibration(overrides: Sequence[str]) -> str:
    """The command of runs that measure the speed, with the same backbone, precision and threads."""
    kept = [word for word in overrides if word.startswith(("profile=", "backbone", "trainer.", "data"))]
    return " ".join(["python train.py -m sweeps=calibration", *kept])


def show(plan: Plan, *, as_json: bool) -> None:
    """A line per task, the sums and the assumptions; or all of it, with every run, as JSON."""
    if as_json:
        print(json.dumps(asdict(plan), indent=1))
        return
    console = Console()
    by_task: dict[str, list[Cost]] = defaultdict(list)
    for cost in plan.runs:
        by_task[cost.task].append(cost)
    headings = ("task", "runs", "a run", "all", "memory")
    say(console, Text(f"Plan on {plan.card}", style="bold"))
    rows = [_row(task, costs) for task, costs in by_task.items()]
    say(console, table(headings, rows, width=width_of(console), left=("task",)))
    say(console, "")
    for line in summary_lines(plan):
        say(console, line)
    for line in plan.assumptions:
        say(console, Text(f"- {line}", style="dim"))


def _row(task: str, costs: Sequence[Cost]) -> tuple[str, ...]:
    seconds = sum(cost.seconds for cost in costs)
    most = max(cost.memory for cost in costs)
    return task, str(len(costs)), duration(seconds / len(costs)), duration(seconds), f"{most / GIB:.1f} GiB"


def summary_lines(plan: Plan) -> list[str]:
    """The sums in words."""
    done = f" ({plan.done} more {'is' if plan.done == 1 else 'are'} done)" if plan.done else ""
    longest = max((cost.seconds for cost in plan.runs), default=0.0)
    lines = [f"{amount(len(plan.runs), 'run')}{done}: {plan.hours:,.1f} hours in all, the longest {duration(longest)}"]
    if plan.money is not None and plan.price is not None:
        lines[0] += f"; {plan.money:,.0f} dollars at {plan.price:g} an hour"
    of_card = "" if plan.memory_of_card is None else f" of {plan.memory_of_card / GIB:.0f}"
    lines.append(f"Memory: {plan.memory / GIB:.1f}{of_card} GiB at most. Disk: {plan.disk / 1e9:.2f} GB.")
    if plan.memory_of_card is not None and plan.memory > plan.memory_of_card:
        lines.append("That does not fit: micro_batch_size=… splits a batch and keeps its gradient, or a larger card.")
    return lines
