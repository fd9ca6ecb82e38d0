"""Draw rows of the sample task with causes and effects (copa)."""

from random import Random

import lexicon as lx
from clauses import Row, capital, draw_person

# Chains of three events. Each event is the cause of the next event.
CHAINS: tuple[tuple[str, str, str], ...] = (
    ("{who} lost the {thing}.", "{who} searched for the {thing}.", "{who} found the {thing}."),
    ("{who} dropped the {thing}.", "The {thing} broke.", "{who} repaired the {thing}."),
    ("{other} stole the {thing}.", "{who} called the police.", "The police found {other}."),
    ("{who} was hungry.", "{who} cooked the {food}.", "{who} ate the {food}."),
    ("{who} needed money.", "{who} sold the {thing}.", "{other} carried the {thing} home."),
    ("{who} fell on the street.", "{other} helped {who}.", "{who} thanked {other}."),
    ("{other} lied to {who}.", "{who} scolded {other}.", "{other} wept."),
    ("{who} worked all night.", "{who} was tired.", "{who} slept all day."),
    ("{who} missed {other}.", "{who} visited {other}.", "{other} welcomed {who}."),
    ("The {thing} was cheap.", "{who} bought the {thing}.", "{who} had no money left."),
    ("The {food} rotted.", "{who} threw the {food} away.", "The kitchen smelled better."),
    ("{other} told a joke.", "{who} laughed.", "{other} told another joke."),
    ("{who} forgot the appointment.", "{other} waited for {who}.", "{other} was angry at {who}."),
    ("The {thing} was dirty.", "{who} washed the {thing}.", "The {thing} was clean."),
)  # fmt: skip


def copa(rng: Random) -> Row:
    """Draw a row of copa. The label is 0 if choice1 is the cause (or the effect) of the premise, 1 if choice2 is.

    The wrong choice is an event of another chain, or the neighbour of the premise in the wrong direction.
    """
    chain, stranger = rng.sample(CHAINS, 2)
    step = rng.choice((-1, 1))
    place = rng.randrange(max(0, -step), min(3, 3 - step))
    right, back = chain[place + step], place - step
    wrong = chain[back] if back in range(3) and rng.random() < 0.7 else rng.choice(stranger)
    fillers = _draw_fillers(rng)
    label = rng.randrange(2)
    choices = [wrong, right] if label else [right, wrong]
    first, second = (capital(choice.format(**fillers)) for choice in choices)
    premise = capital(chain[place].format(**fillers))
    return {
        "premise": premise,
        "question": "cause" if step < 0 else "effect",
        "choice1": first,
        "choice2": second,
        "label": label,
    }


def _draw_fillers(rng: Random) -> dict[str, str]:
    who, other = draw_person(rng), draw_person(rng)
    while other.noun == who.noun:
        other = draw_person(rng)
    people = [one.noun if one.is_name else f"the {one.adjective} {one.noun}".replace("  ", " ") for one in (who, other)]
    thing, food = (rng.choice(lx.MEMBERS[rng.choice(kinds)]) for kinds in (lx.THINGS, lx.FOODS))
    return {"who": people[0], "other": people[1], "thing": thing, "food": food}
