"""Draw rows of the sample tasks with questions.

In qnli, the label tells whether a sentence answers a question. In qqp, it tells whether two questions are equivalent.
"""

from dataclasses import replace
from random import Random

import lexicon as lx
from clauses import Clause, Row, Wording, draw_clause, draw_wording, fill, is_person, say, synonym
from edits import another, changed, verbs_like


def ask(clause: Clause, slot: str, how: Wording) -> str:
    """Return a question about one part of a clause, which is called a slot.

    The question begins with who, what, where, when or how many. It does not contain the words of the slot. The slot
    `count` is the number of objects.
    """
    known = replace(fill(clause, slot, "") if slot in ("place", "time") else clause, negated=False)
    body = say(known, replace(how, passive=False, front=""))[:-1]
    subject = say(Clause(clause.subject, "get"), how)[: -len(" got.")]
    rest = body[len(subject) :].lstrip()  # the verb in the past, and the words after it
    verb = synonym(clause.verb) if clause.verb in how.synonyms else clause.verb
    after = rest[len(lx.past(verb)) :].strip()
    who = subject if clause.subject.is_name else subject[0].lower() + subject[1:]
    if slot == "subject":
        return f"Who {rest}?"
    if slot in ("place", "time"):
        word = "Where" if slot == "place" else "When"
        return f"{word} did {who} {verb} {after}".strip() + "?"
    bare = say(replace(known, object=None), replace(how, passive=False, front=""))[:-1][len(subject) :].lstrip()
    tail = bare[len(lx.past(verb)) :].strip()
    if slot == "count":
        assert clause.object is not None
        noun = synonym(clause.object.noun) if clause.object.noun in how.synonyms else clause.object.noun
        return f"How many {lx.plural(noun)} did {who} {verb} {tail}".strip() + "?"
    return f"{'Who' if is_person(clause.object) else 'What'} did {who} {verb} {tail}".strip() + "?"


def askable_slots(clause: Clause) -> list[str]:
    """Return the slots about which a question can be asked that this clause answers."""
    found = ["subject"] + [slot for slot in ("object", "place", "time") if getattr(clause, slot)]
    return found + (["count"] if clause.object is not None and clause.object.count else [])


def qnli(rng: Random) -> Row:
    """Draw a row of qnli. The label is 0 if the sentence answers the question, otherwise 1."""
    question, sentence, answer = asked_and_told(rng)
    return {"question": question, "sentence": sentence, "label": int(not answer)}


def asked_and_told(rng: Random) -> tuple[str, str, str]:
    """Draw a question, a sentence, and the answer. The answer is empty if the sentence does not contain it."""
    label = rng.randrange(2)
    clause = draw_clause(rng, shape=rng.choice(("alone", "thing", "food", "person", "person")), place=0.5, time=0.35)
    slot = rng.choice(askable_slots(clause))
    asked = _without_some(clause, slot, rng)  # a question may leave out facts
    if label == 1:
        missing = [s for s in ("place", "time") if not getattr(clause, s)]
        if missing and rng.random() < 0.4:
            slot = rng.choice(missing)  # the same event, without the answer
        else:
            asked = _other_event(asked, slot, rng)
    question = ask(asked, slot, draw_wording(rng, asked, passive=0.0, front=0.0, swap=0.35))
    sentence = say(clause, draw_wording(rng, clause, passive=0.35, front=0.3, swap=0.35))
    if rng.random() < 0.4:
        aside = say(draw_clause(rng, shape="alone", place=0.0, time=0.0))
        sentence = f"{sentence} {aside}" if rng.random() < 0.5 else f"{aside} {sentence}"
    return question, sentence, "" if label else filler(clause, slot)


def filler(clause: Clause, slot: str) -> str:
    """Return the answer to the question about a slot: a noun, a place, a time or a number."""
    if slot in ("place", "time"):
        return str(getattr(clause, slot))
    phrase = clause.subject if slot == "subject" or clause.object is None else clause.object
    return phrase.count if slot == "count" else phrase.noun


def qqp(rng: Random) -> Row:
    """Draw a row of qqp. The label is 1 if both questions have the same meaning, otherwise 0."""
    label = rng.randrange(2)
    clause = draw_clause(rng, shape=rng.choice(("alone", "thing", "food", "person", "person")), place=0.6, time=0.4)
    slot = rng.choice(askable_slots(clause))
    other, other_slot = clause, slot
    if label == 0:
        slots = [s for s in askable_slots(clause) if s != slot]
        if slots and rng.random() < 0.3:
            other_slot = rng.choice(slots)
        else:
            other = _other_event(clause, slot, rng)
    for _ in range(8):
        first = ask(clause, slot, draw_wording(rng, clause, passive=0.0, front=0.0, swap=0.6))
        second = ask(other, other_slot, draw_wording(rng, other, passive=0.0, front=0.0, swap=0.6))
        if first != second:
            break
    return {"question1": _polite(first, rng), "question2": _polite(second, rng), "label": label}


OPENINGS = ("Tell me:", "I wonder:", "Please say:", "Do you know:")


def _polite(question: str, rng: Random) -> str:
    return f"{rng.choice(OPENINGS)} {question}" if rng.random() < 0.35 else question


def _other_event(clause: Clause, slot: str, rng: Random) -> Clause:
    """Return a clause that differs from this clause in a part that the question about `slot` contains."""
    hidden = {"object": ("noun", "count"), "count": ("count",)}.get(slot, (slot,))
    seen = [edit for edit in (changed(clause, rng) for _ in range(12)) if edit[0] not in (*hidden, "negation")]
    if seen and rng.random() < 0.75:
        return seen[0][1]
    return replace(clause, verb=another(clause.verb, verbs_like(clause), rng))


def _without_some(clause: Clause, slot: str, rng: Random) -> Clause:
    """Return the clause. Its place and its time are sometimes left out, unless the question asks for them."""
    for adjunct in ("place", "time"):
        if adjunct != slot and getattr(clause, adjunct) and rng.random() < 0.3:
            clause = fill(clause, adjunct, "")
    return clause
