"""The speed of a card, from runs on it, from runs on another card, or from its data sheet alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from krona.config import check
from krona.config.targets import NotAllowedError
from krona.messages import KronaError, amount
from krona.outputs.result import Result
from krona.sweeps.planning.cards import Card, card_named
from krona.sweeps.planning.estimate import Workloads
from krona.sweeps.planning.speed import ASSUMED_PER_BLOCK, FEWEST_STEPS, Load, Speed, fit

MOST_RUNS = 200  # the latest ones are used
Ran = list[tuple[Load, Result]]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The card and setting of a speed. ``card``: None for ``device`` itself; ``threads`` matter on a CPU."""

    card: Card | None
    device: str
    threads: int
    precision: str
    backbone: str  # its runs, of these sizes, are preferred
    sizes: Mapping[str, Any] | None = None  # instead of the backbone's own

    @property
    def name(self) -> str:
        return self.card.name if self.card else f"{self.device}, {self.threads} threads"

    def fits(self, result: Result, cards: Mapping[str, Card]) -> bool:
        """Whether a result is of a finished run in this precision on this card or device."""
        trainer: dict[str, Any] = result.config.get("trainer", {})
        if result.status != "done" or not result.dev_curve or trainer.get("precision") != self.precision:
            return False
        device = str(result.provenance.get("device"))
        here = device == self.device if self.card is None else card_named(device, cards) == self.card
        same_threads = not device.startswith("cpu") or result.provenance.get("threads") == self.threads
        return here and same_threads and bool(result.times.get("train"))


def speed_of(
    wanted: Wanted, results: Iterable[Result], cards: Mapping[str, Card], workloads: Workloads, *, calibrate: str
) -> tuple[Speed, list[str]]:
    """The speed and the assumptions in it: from runs there, else from runs on another card, by their data sheets.

    Raises KronaError where there are neither, with ``calibrate``, the command that makes some.
    """
    card, known = wanted.card, list(results)
    refused: dict[str, None] = {}  # lines on results that name a class of their own
    here = _runs(wanted, known, workloads, cards, refused)
    if here:
        speed, said = _fitted(here, wanted, f"on {wanted.name}")
        return speed, [*said, *refused]
    for other in cards.values() if card is not None else ():
        there = _runs(replace(wanted, card=other), known, workloads, cards, refused)
        if card is not None and there:
            speed, said = _fitted(there, wanted, f"on {other.name}")
            factor = card.peak(wanted.precision) / other.peak(wanted.precision)
            scaled = f"Scaled to {card.name} by the data sheets' {wanted.precision}: × {factor:.2g}; launches stay."
            return speed.on(factor), [*said, scaled, *refused]
    way_out = f"{calibrate} on it makes some" + (
        "; or --efficiency 0.35 assumes that part of its data sheet" if card else ""
    )
    unknown = f"no runs in {wanted.precision} on {wanted.name}, so its speed is not known: {way_out}"
    raise KronaError("\n".join([unknown, *refused]))


def assumed_speed(card: Card, precision: str, efficiency: float) -> tuple[Speed, list[str]]:
    """A part of the data sheet's speed, where nothing was measured."""
    rate = efficiency * card.peak(precision)
    return Speed(rate, ASSUMED_PER_BLOCK), [
        f"Nothing was measured: {100 * efficiency:.0f} % of {card.name}'s data sheet in {precision}, "
        f"{rate / 1e12:.3g} TFLOP/s, and {1e3 * ASSUMED_PER_BLOCK:.1g} ms a block and step for launches are assumed."
    ]


def _fitted(ran: Ran, wanted: Wanted, where: str) -> tuple[Speed, list[str]]:
    named = [(load, result, result.config["backbone"]) for load, result in ran]
    own = [(load, r) for load, r, of in named if (of["name"], of.get("sizes")) == (wanted.backbone, wanted.sizes)]
    speed = fit(own or ran)
    rates = f"{speed.rate / 1e12:.3g} TFLOP/s and {1e3 * speed.per_block:.2g} ms a block and step"
    between = f", {1e9 * speed.per_element:.2g} ns a number between products" if speed.per_element else ""
    alone = "" if speed.per_block else " (one size of batch: all time taken for operations)"
    said = [f"Speed from {amount(len(own or ran), 'run')} {where}: {rates}{between}{alone}."]
    if not own:
        widths = sorted({load.sizes.d_model for load, _ in ran})
        way_out = (
            "" if speed.per_element else "; runs of a second width would tell operations from what is between them"
        )
        said.append(f"They are of d_model {' and '.join(map(str, widths))}, not of {wanted.backbone}{way_out}.")
    return speed, said


def _runs(
    wanted: Wanted, results: Iterable[Result], workloads: Workloads, cards: Mapping[str, Card], refused: dict[str, None]
) -> Ran:
    """The latest runs that fit, without those whose backbone or data is no longer here.

    ``refused`` gets a line for each that names a class which no file may name.
    """
    fitting = [one for one in results if wanted.fits(one, cards)]
    found: Ran = []
    for result in sorted(fitting, key=lambda one: str(one.provenance.get("finished")))[-MOST_RUNS:]:
        try:
            load, _ = workloads.of(check.settings(result.config), result)
        except NotAllowedError as error:
            refused[f"{result.run_id}/result.json is left out: {error}."] = None
            continue
        except KronaError:
            continue
        if load.steps >= FEWEST_STEPS:
            found.append((load, result))
    return found
