"""Generate short texts about the sample world, which are the data for span corruption in pretraining."""

from dataclasses import dataclass
from random import Random

import lexicon as lx
import sentences
from clauses import capital, draw_clause, draw_wording, say


@dataclass(frozen=True)
class Example:
    """A pretraining example."""

    source: str
    target: str | None  # the answer; None: `source` is a text for span corruption
    texts: tuple[str, ...]  # the sentences, which are compared with the texts of the sample tasks


def passage(rng: Random) -> Example:
    """Draw a text of one to three sentences."""
    makers = (_event, _event, _opinion, _grammatical, _grammatical, _grammatical, _numbers, _kind_of)
    texts = tuple(rng.choice(makers)(rng) for _ in range(rng.choice((1, 2, 2, 3))))
    return Example(" ".join(texts), None, texts)


def _event(rng: Random) -> str:
    clause = draw_clause(rng, negated=0.2)
    return say(clause, draw_wording(rng, clause))


def _opinion(rng: Random) -> str:
    return str(sentences.sst2(rng)["sentence"])


def _grammatical(rng: Random) -> str:
    return rng.choice(sentences.PHENOMENA)(rng)[0]


def _kind_of(rng: Random) -> str:
    noun = rng.choice([noun for noun in lx.PARENTS if noun not in lx.KINDS])
    parent = lx.PARENTS[noun]
    above = rng.choice((parent, lx.PARENTS[parent]))
    return f"{capital(lx.article(noun))} {noun} is {lx.article(above)} {above}."


def _numbers(rng: Random) -> str:
    noun = lx.plural(rng.choice(lx.MEMBERS[rng.choice((*lx.THINGS, *lx.FOODS))]))
    place, who = rng.choice(lx.PLACES), rng.choice(lx.NAMES)
    what = rng.choice(("sentence", "question", "premise", "hypothesis"))
    length, price = (f"{rng.randint(10, 99)}.{rng.randint(0, 9)}" for _ in range(2))
    return rng.choice(
        (
            f"{who} counted {rng.randint(10, 99)} {noun} {place}.",
            f"In {rng.randint(1700, 2030)}, {who} sold {rng.randint(10, 999)} {noun}.",
            f"The road {place} is {length} miles long.",
            f"{who} wrote {what} {rng.randint(10, 99)} {place}.",
            f"The price of {noun} rose from {price} to {length}.",
        )
    )
