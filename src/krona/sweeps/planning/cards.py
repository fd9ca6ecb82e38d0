"""Cards by name, from conf/cards.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from krona.config.compose import read_yaml
from krona.messages import KronaError, did_you_mean


@dataclass(frozen=True)
class Card:
    """memory: GiB. fp32, bf16: dense TFLOP/s of the data sheet, None: it has none. price: dollars an hour."""

    name: str
    device: str  # a part of the driver's name for it
    memory: float
    fp32: float
    bf16: float | None
    price: float

    def peak(self, precision: str) -> float:
        """Operations a second by the data sheet. Raises KronaError for bf16 on a card without it."""
        if precision == "32-true":
            return 1e12 * self.fp32
        if self.bf16 is None:
            raise KronaError(f"card {self.name} has no bf16: trainer.precision=32-true, or another card")
        return 1e12 * self.bf16


def read_cards(file: Path) -> dict[str, Card]:
    """Raises KronaError for an entry with a missing or an unknown key."""
    cards = {}
    for name, values in read_yaml(file).items():
        try:
            cards[str(name)] = Card(str(name), **values)
        except TypeError as error:
            needed = "device, memory, fp32, bf16, price"
            raise KronaError(f"{file}: card {name}: it needs {needed}: {error}") from error
    return cards


def card_of(name: str, cards: Mapping[str, Card]) -> Card:
    """Raises KronaError for an unknown card, with the nearest."""
    if name not in cards:
        raise KronaError(f"no card {name!r} in conf/cards.yaml; {did_you_mean(name, cards)}")
    return cards[name]


def card_named(device: str, cards: Mapping[str, Card]) -> Card | None:
    """The card of a driver's name, by the longest match: A100-SXM4-80GB before A100."""
    fitting = [card for card in cards.values() if card.device in device]
    return max(fitting, key=lambda card: len(card.device), default=None)
