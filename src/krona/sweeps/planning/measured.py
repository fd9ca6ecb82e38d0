"""The speed of a card, from the runs that were made on it, on another card, or from its data sheet alone."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from krona.config import check
from krona.messages import KronaError
from krona.outputs.result import Result
from krona.sweeps.planning.cards import Card, card_named
from krona.sweeps.planning.estimate import Workloads
from krona.sweeps.planning.speed import ASSUMED_PER_BLOCK, FEWEST_STEPS, Load, Speed, fit

MOST_RUNS = 200  # the latest ones that are looked at
Ran = list[tuple[Load, Result]]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a speed is asked for. ``card``: None for ``device`` itself; ``threads`` count on a CPU."""

    card: Card | None
    device: str
    threads: int
    precision: str
    backbone: str  # its runs, of these sizes, go before others'
    sizes: Mapping[str, Any] | None = None  # in the place of the backbone's own

    @property
    def name(self) -> str:
        return self.card.name if self.card else f"{self.device}, {self.threads} threads"


def speed_of(
    wanted: Wanted, results: Iterable[Result], cards: Mapping[str, Card], workloads: Workloads, *, calibrate: str
) -> tuple[Speed, list[str]]:
    """The speed and what is assumed of it: from runs there, else from runs on another card, by their data sheets.

    Raises KronaError where there are neither, with ``calibrate``, the command that makes some.
    """
    card, known = wanted.card, list(results)
    here = _runs(wanted, known, workloads, partial(_is_meant, wanted=wanted, cards=cards))
    if here:
        return _fitted(here, wanted, f"on {wanted.name}")
    for other in cards.values() if card is not None else ():
        there = _runs(wanted, known, workloads, partial(_is_meant, wanted=replace(wanted, card=other), cards=cards))
        if card is not None and there:
            speed, said = _fitted(there, wanted, f"on {other.name}")
            factor = card.peak(wanted.precision) / other.peak(wanted.precision)
            scaled = f"Scaled to {card.name} by the data sheets' {wanted.precision}: × {factor:.2g}; launches stay."
            return speed.on(factor), [*said, scaled]
    way_out = f"{calibrate} on it makes some" + (
        "; or --efficiency 0.35 assumes that part of its data sheet" if card else ""
    )
    raise KronaError(f"no runs in {wanted.precision} on {wanted.name}, so its speed is not known: {way_out}")


def assumed_speed(card: Card, precision: str, efficiency: float) -> tuple[Speed, list[str]]:
    """A part of the data sheet, where nothing was measured."""
    rate = efficiency * card.peak(precision)
    return Speed(rate, ASSUMED_PER_BLOCK), [
        f"Nothing was measured: {100 * efficiency:.0f} % of {card.name}'s data sheet in {precision}, "
        f"{rate / 1e12:.3g} TFLOP/s, and {1e3 * ASSUMED_PER_BLOCK:.1g} ms a block and step for launches are assumed."
    ]


def _is_meant(where: str, *, wanted: Wanted, cards: Mapping[str, Card]) -> bool:
    return where == wanted.device if wanted.card is None else card_named(where, cards) == wanted.card


def _fitted(ran: Ran, wanted: Wanted, where: str) -> tuple[Speed, list[str]]:
    own = [(load, result) for load, result in ran if _is_own(result.config["backbone"], wanted)]
    speed = fit(own or ran)
    runs = f"{len(own or ran)} run{'s' * (len(own or ran) != 1)}"
    rates = f"{speed.rate / 1e12:.3g} TFLOP/s and {1e3 * speed.per_block:.2g} ms a block and step"
    between = f", {1e9 * speed.per_element:.2g} ns a number between products" if speed.per_element else ""
    alone = "" if speed.per_block else " (one size of batch: all time taken for operations)"
    said = [f"Speed from {runs} {where}: {rates}{between}{alone}."]
    if not own:
        widths = sorted({load.sizes.d_model for load, _ in ran})
        way_out = (
            "" if speed.per_element else "; runs of a second width would tell operations from what is between them"
        )
        said.append(f"They are of d_model {' and '.join(map(str, widths))}, not of {wanted.backbone}{way_out}.")
    return speed, said


def _is_own(backbone: Mapping[str, Any], wanted: Wanted) -> bool:
    return (backbone["name"], backbone.get("sizes")) == (wanted.backbone, wanted.sizes)


def _runs(wanted: Wanted, results: Iterable[Result], workloads: Workloads, fits: Callable[[str], bool]) -> Ran:
    """The latest runs of that precision that a device made, as far as their backbone and data are still here."""
    fitting = [one for one in results if _usable(one, wanted) and fits(str(one.provenance.get("device")))]
    found: Ran = []
    for result in sorted(fitting, key=lambda one: str(one.provenance.get("finished")))[-MOST_RUNS:]:
        try:
            load, _ = workloads.of(check.settings(result.config), result)
        except KronaError:
            continue
        if load.steps >= FEWEST_STEPS:
            found.append((load, result))
    return found


def _usable(result: Result, wanted: Wanted) -> bool:
    trainer: dict[str, Any] = result.config.get("trainer", {})
    if result.status != "done" or not result.dev_curve or trainer.get("precision") != wanted.precision:
        return False
    on_cpu = str(result.provenance.get("device")).startswith("cpu")
    return bool(result.times.get("train")) and (not on_cpu or result.provenance.get("threads") == wanted.threads)
