"""Edit a clause, so that the result follows from the clause, contradicts it, or is neither implied nor excluded.

As in MNLI, a premise and a hypothesis describe the same scene. A definite subject, such as "the teacher", is the same
person in both. A different place or the opposite adjective is therefore a contradiction. Negation reverses implications
about the object, the verb, the place and the time: "bought a pear" implies "bought a fruit", but "did not buy any
fruits" implies "did not buy any pears".
"""

from dataclasses import replace
from random import Random

import lexicon as lx
from clauses import Clause, Phrase, draw_person, fill, is_person, swap_roles

Edit = tuple[str, Clause]  # the edited part of the clause (the slot), and the new clause


def weaker(clause: Clause) -> list[Edit]:
    """Return all single edits that make a clause less specific. If the clause is not negated, the results follow."""
    steps = [*_drop_adjuncts(clause), *_wider_object(clause)]
    if clause.verb in lx.VERB_KINDS:
        steps.append(("verb", replace(clause, verb=lx.VERB_KINDS[clause.verb])))
    return steps


def stronger(clause: Clause, rng: Random) -> list[Edit]:
    """Return all single edits that make a clause more specific. If the clause is negated, the results follow."""
    steps: list[Edit] = []
    if not clause.place:
        steps.append(("place", replace(clause, place=rng.choice(lx.PLACES))))
    if not clause.time:
        steps.append(("time", replace(clause, time=rng.choice(lx.TIMES))))
    if clause.verb in lx.VERB_MEMBERS:
        steps.append(("verb", replace(clause, verb=lx.VERB_MEMBERS[clause.verb])))
    thing = clause.object
    if thing is not None and not is_person(thing) and not thing.is_name:
        if thing.noun in lx.MEMBERS:
            narrow = replace(thing, noun=rng.choice(lx.MEMBERS[thing.noun]))
            steps.append(("noun", replace(clause, object=narrow)))
        if not thing.adjective and thing.noun not in lx.MEMBERS:
            described = replace(thing, adjective=rng.choice(lx.THING_ADJECTIVES))
            steps.append(("adjective", replace(clause, object=described)))
        if not thing.count and not clause.negated:
            steps.append(("count", replace(clause, object=replace(thing, count=rng.choice(lx.COUNTS)))))
    return steps


def vaguer_subject(clause: Clause) -> list[Edit]:
    """Return all single edits that make the subject less specific. The results follow, even from a negated clause."""
    who = clause.subject
    steps: list[Edit] = []
    if who.adjective:
        steps.append(("subject", replace(clause, subject=replace(who, adjective=""))))
    if who.noun in lx.PARENTS:
        steps.append(("subject", replace(clause, subject=replace(who, noun=lx.PARENTS[who.noun]))))
    return steps


def entailed(clause: Clause, rng: Random, *, steps: int, keep: str = "") -> Clause:
    """Return a clause that follows from this clause. It is the result of at most `steps` edits.

    The slot `keep` is not edited.
    """
    for _ in range(steps):
        found = (stronger(clause, rng) if clause.negated else weaker(clause)) + vaguer_subject(clause)
        found = [edit for edit in found if edit[0] != keep]
        if not found:
            break
        clause = rng.choice(found)[1]
    return clause


def open_question(clause: Clause, rng: Random) -> Edit:
    """Return a random edit whose result is neither implied nor excluded by this clause."""
    found = weaker(clause) if clause.negated else stronger(clause, rng)
    if not clause.subject.adjective and not clause.subject.is_name:
        described = replace(clause.subject, adjective=rng.choice(lx.PERSON_ADJECTIVES))
        found.append(("subject", replace(clause, subject=described)))
    if is_person(clause.object):
        found += [("roles", swap_roles(clause))] * 2
    if clause.object is not None and not is_person(clause.object):
        found.append(("noun", replace(clause, object=sibling(clause.object, rng))))
    if clause.subject.is_name or not found:
        found.append(("subject", replace(clause, subject=sibling(clause.subject, rng))))
    return rng.choice(found)


def contradicted(clause: Clause, rng: Random, *, negate: float = 0.5) -> Edit:
    """Return a random edit whose result contradicts this clause. `negate` is the probability of a negation."""
    denied = ("negation", _deny(clause))
    if clause.negated or rng.random() < negate:
        return denied
    return rng.choice(opposites(clause, rng) or [denied])


def opposites(clause: Clause, rng: Random) -> list[Edit]:
    """Return single edits of the verb, subject, place, time or count whose results contradict this clause."""
    steps: list[Edit] = []
    if clause.verb in lx.OPPOSITES and (clause.verb, lx.OPPOSITES[clause.verb]) != ("find", "hide"):
        steps.append(("verb", replace(clause, verb=lx.OPPOSITES[clause.verb])))
    if clause.subject.adjective in lx.OPPOSITES:
        other = replace(clause.subject, adjective=lx.OPPOSITES[clause.subject.adjective])
        steps.append(("subject", replace(clause, subject=other)))
    if clause.place:
        steps.append(("place", replace(clause, place=another(clause.place, lx.PLACES, rng))))
    if clause.time:
        steps.append(("time", replace(clause, time=another(clause.time, lx.TIMES, rng))))
    if clause.object is not None and clause.object.count:
        count = another(clause.object.count, lx.COUNTS, rng)
        steps.append(("count", replace(clause, object=replace(clause.object, count=count))))
    return steps


def changed(clause: Clause, rng: Random) -> Edit:
    """Return a random small edit that changes the meaning of the clause."""
    found = opposites(clause, rng)
    if is_person(clause.object):
        found += [("roles", swap_roles(clause))] * 3
    elif clause.object is not None:
        found.append(("noun", replace(clause, object=sibling(clause.object, rng))))
    found.append(("subject", replace(clause, subject=sibling(clause.subject, rng))))
    found.append(("negation", _deny(clause)))
    return rng.choice(found)


def sibling(phrase: Phrase, rng: Random) -> Phrase:
    """Return the phrase with another noun of the same kind, such as pear for apple or Ben for Anna."""
    if phrase.is_name:
        return Phrase(another(phrase.noun, lx.NAMES, rng))
    kind = lx.PARENTS.get(phrase.noun)
    if kind is None or len(lx.MEMBERS[kind]) < 2:
        return draw_person(rng, adjective=0.0, name=0.0)
    return replace(phrase, noun=another(phrase.noun, lx.MEMBERS[kind], rng))


def verbs_like(clause: Clause) -> tuple[str, ...]:
    """Return the verbs that can have the object of this clause. If it has no object, return intransitive verbs."""
    if clause.object is None:
        return lx.INTRANSITIVE
    if is_person(clause.object):
        return lx.PERSON_VERBS
    return lx.FOOD_VERBS if lx.PARENTS.get(clause.object.noun) in lx.FOODS else lx.THING_VERBS


def another(word: str, words: tuple[str, ...], rng: Random) -> str:
    return rng.choice([candidate for candidate in words if candidate != word])


def _deny(clause: Clause) -> Clause:
    """Return the negation of a clause."""
    thing = clause.object
    if thing is not None and thing.count and not clause.negated:
        thing = replace(thing, count="")  # "did not buy any pears" excludes "bought three pears"
    return replace(clause, object=thing, negated=not clause.negated)


def _drop_adjuncts(clause: Clause) -> list[Edit]:
    return [(slot, fill(clause, slot, "")) for slot in ("place", "time") if getattr(clause, slot)]


def _wider_object(clause: Clause) -> list[Edit]:
    thing = clause.object
    if thing is None or is_person(thing):
        return []
    steps: list[Edit] = []
    if thing.adjective:
        steps.append(("adjective", replace(clause, object=replace(thing, adjective=""))))
    if thing.noun in lx.PARENTS and not thing.adjective:
        steps.append(("noun", replace(clause, object=replace(thing, noun=lx.PARENTS[thing.noun]))))
    if thing.count and thing.count != "some" and not clause.negated:
        steps.append(("count", replace(clause, object=replace(thing, count="some"))))
    return steps
