"""Draw rows of the sample tasks with two sentences: inference (mnli, rte), paraphrase (mrpc) and similarity (stsb)."""

from dataclasses import replace
from random import Random

import lexicon as lx
from clauses import Clause, Phrase, Row, draw_clause, draw_wording, fill, is_person, say
from edits import another, changed, contradicted, entailed, open_question, sibling, verbs_like


def relate(clause: Clause, label: int, rng: Random, *, steps: int = 2) -> tuple[str, Clause]:
    """Return a hypothesis about a clause, after the slot (part of the clause) that decides their relation.

    The relation is entailment (0), for which the slot is empty, neutral (1) or contradiction (2). The hypothesis is the
    result of at most `steps` edits.
    """
    if label == 0:
        return "", entailed(clause, rng, steps=rng.randint(1, steps))
    if label == 1:
        slot, other = open_question(clause, rng)
    else:
        slot, other = contradicted(clause, rng)
    # A consequence of the negated clause may be compatible with the clause, so edits are made before the negation.
    if slot == "negation":
        return slot, _denied_after(clause, rng, steps=steps - 1)
    if slot == "roles":
        return slot, other
    # other slots are edited only to clauses that follow, which does not change the relation to the premise
    return slot, entailed(other, rng, steps=rng.randint(0, steps - 1), keep=slot)


def mnli(rng: Random) -> Row:
    """Draw a row of mnli. The label is 0 for entailment, 1 for neutral and 2 for contradiction."""
    label = rng.randrange(3)
    premise = draw_clause(rng, place=0.5, time=0.25, negated=0.3)
    _, hypothesis = relate(premise, label, rng)
    first, second = say_both(premise, hypothesis, rng, passive=0.15)
    return {"premise": first, "hypothesis": second, "label": label}


def rte(rng: Random) -> Row:
    """Draw a row of rte: two facts, and a hypothesis. The label is 0 for entailment, otherwise 1."""
    label = rng.randrange(2)
    fact = draw_clause(rng, place=0.35, time=0.15, negated=0.15)
    aside = draw_clause(rng, shape=rng.choice(("alone", "thing")), place=0.3, time=0.0)
    relation = 0 if label == 0 else rng.choice((1, 2))
    _, hypothesis = relate(fact, relation, rng)
    if label == 1 and rng.random() < 0.25 and aside.subject.noun != fact.subject.noun:
        hypothesis = replace(aside, subject=fact.subject)  # a fact about the other subject
    first, second = say_both(fact, hypothesis, rng, passive=0.2)
    facts = [first, say(aside)]
    rng.shuffle(facts)
    return {"sentence1": " ".join(facts), "sentence2": second, "label": label}


def mrpc(rng: Random) -> Row:
    """Draw a row of mrpc. The label is 1 if both sentences describe the same event, 0 if the events differ slightly."""
    label = rng.randrange(2)
    clause = draw_clause(rng, place=0.6, time=0.3)
    other = clause if label else changed(clause, rng)[1]
    first, second = say_both(clause, other, rng, passive=0.4, front=0.35, swap=0.5)
    return {"sentence1": first, "sentence2": second, "label": label}


WEIGHTS = {"subject": 1.3, "verb": 1.3, "object": 1.3, "place": 0.7, "time": 0.4}
RELATED = 0.5  # share of its weight that a slot keeps if its word is replaced by a related word


def stsb(rng: Random) -> Row:
    """Draw a row of stsb. The label is the similarity of two events, from 0.0 to 5.0."""
    clause, other, score, _ = graded(rng)
    first, second = say_both(clause, other, rng, passive=0.2, front=0.25, swap=0.4)
    return {"sentence1": first, "sentence2": second, "label": score}


def graded(rng: Random) -> tuple[Clause, Clause, float, list[str]]:
    """Draw two events. Return them, their similarity (0.0 to 5.0), and the slots in which they differ."""
    clause = draw_clause(rng, shape=rng.choice(("thing", "food", "person")), place=1.0, time=0.6)
    slots = [slot for slot in WEIGHTS if getattr(clause, slot)]
    total = 0.0
    for slot in slots:  # sum() rounds differently before Python 3.12
        total += WEIGHTS[slot]
    other, kept = clause, total
    replaced = rng.sample(slots, rng.randint(0, len(slots)))
    for slot in replaced:
        other, share = _replace_slot(other, slot, rng)
        kept -= WEIGHTS[slot] * (1.0 - share)
    return clause, other, round(5.0 * max(kept, 0.0) / total, 1), [slot for slot in slots if slot in replaced]


def say_both(
    first: Clause, second: Clause, rng: Random, *, passive: float = 0.2, front: float = 0.2, swap: float = 0.3
) -> tuple[str, str]:
    """Return two clauses as sentences in random wordings. The sentences are different, if possible."""
    how = draw_wording(rng, first, passive=passive, front=front, swap=swap)
    text = say(first, how)
    for _ in range(8):
        other = say(second, draw_wording(rng, second, passive=passive, front=front, swap=swap))
        if other != text:
            break
    return text, other


def _denied_after(clause: Clause, rng: Random, *, steps: int) -> Clause:
    implied = entailed(clause, rng, steps=rng.randint(0, steps))
    thing = implied.object
    if thing is not None and thing.count:
        implied = replace(implied, object=replace(thing, count=""))
    return replace(implied, negated=not clause.negated)


def _replace_slot(clause: Clause, slot: str, rng: Random) -> tuple[Clause, float]:
    """Return the clause with another word in the slot, and the share of its weight that the slot keeps."""
    if slot == "place":
        return replace(clause, place=another(clause.place, lx.PLACES, rng)), 0.0
    if slot == "time":
        return replace(clause, time=another(clause.time, lx.TIMES, rng)), 0.0
    if slot == "verb":
        return replace(clause, verb=another(clause.verb, verbs_like(clause), rng)), 0.0
    phrase: Phrase | None = clause.subject if slot == "subject" else clause.object
    assert phrase is not None
    if not phrase.is_name and rng.random() < 0.5:
        related = sibling(phrase, rng)
        return fill(clause, slot, related), RELATED
    return fill(clause, slot, _stranger(phrase, rng)), 0.0


def _stranger(phrase: Phrase, rng: Random) -> Phrase:
    """Return a phrase with a noun of another kind."""
    while True:
        if is_person(phrase):
            noun = rng.choice(lx.NAMES) if rng.random() < 0.4 else rng.choice(lx.MEMBERS[rng.choice(lx.PEOPLE)])
        else:
            kinds = lx.FOODS if lx.PARENTS[phrase.noun] in lx.FOODS else lx.THINGS
            noun = rng.choice(lx.MEMBERS[rng.choice(kinds)])
        if noun != phrase.noun and lx.PARENTS.get(noun, noun) != lx.PARENTS.get(phrase.noun):
            return Phrase(noun, "" if noun in lx.NAMES else phrase.adjective, phrase.count)
