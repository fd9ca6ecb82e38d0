"""Clauses, which represent the meaning of sentences about the sample world, and their wordings in English.

A `Clause` states who did what to whom, where and when, or that this did not happen. `say` turns a clause into an
English sentence. The wording can vary without changing the meaning: words can be replaced by synonyms, the voice can be
passive, and a place or a time can be at the beginning.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import lexicon as lx

Row = dict[str, str | int | float]  # a row of a sample task: its texts by column, `label` and `idx`


@dataclass(frozen=True)
class Phrase:
    """A participant of an event: a name, or a noun with an optional adjective and an optional number."""

    noun: str
    adjective: str = ""
    count: str = ""

    @property
    def is_name(self) -> bool:
        return self.noun in lx.NAMES


@dataclass(frozen=True)
class Clause:
    """An event in the past, or the statement that it did not happen."""

    subject: Phrase
    verb: str
    object: Phrase | None = None
    place: str = ""
    time: str = ""
    negated: bool = False


@dataclass(frozen=True)
class Wording:
    """The wording of a clause. It does not change the meaning."""

    passive: bool = False
    front: str = ""  # the part at the beginning of the sentence: "place" or "time"; "" for the usual order
    synonyms: frozenset[str] = frozenset()  # the words that are replaced by their synonyms


def draw_person(rng: Random, *, adjective: float = 0.5, name: float = 0.25) -> Phrase:
    if rng.random() < name:
        return Phrase(rng.choice(lx.NAMES))
    noun = rng.choice(lx.MEMBERS[rng.choice(lx.PEOPLE)])
    return Phrase(noun, rng.choice(lx.PERSON_ADJECTIVES) if rng.random() < adjective else "")


def draw_thing(rng: Random, kinds: tuple[str, ...], *, adjective: float = 0.3, count: float = 0.3) -> Phrase:
    noun = rng.choice(lx.MEMBERS[rng.choice(kinds)])
    return Phrase(
        noun,
        rng.choice(lx.THING_ADJECTIVES) if rng.random() < adjective else "",
        rng.choice(lx.COUNTS) if rng.random() < count else "",
    )


def draw_clause(rng: Random, *, shape: str = "", place: float = 0.5, time: float = 0.3, negated: float = 0.0) -> Clause:
    """Draw a clause whose object has the kind ``shape``: `alone` (no object), `thing`, `food`, `person` or any kind."""
    shape = shape or rng.choice(("alone", "thing", "thing", "food", "person"))
    subject = draw_person(rng)
    where = rng.choice(lx.PLACES) if rng.random() < place else ""
    when = rng.choice(lx.TIMES) if rng.random() < time else ""
    no = rng.random() < negated
    if shape == "alone":
        return Clause(subject, rng.choice(lx.INTRANSITIVE), None, where, when, no)
    if shape == "thing":
        return Clause(subject, rng.choice(lx.THING_VERBS), draw_thing(rng, lx.THINGS), where, when, no)
    if shape == "food":
        return Clause(subject, rng.choice(lx.FOOD_VERBS), draw_thing(rng, lx.FOODS), where, when, no)
    other = draw_person(rng, adjective=0.3)
    while other.noun == subject.noun:
        other = draw_person(rng, adjective=0.3)
    return Clause(subject, rng.choice(lx.PERSON_VERBS), other, where, when, no)


def replaceable_words(clause: Clause) -> list[str]:
    """Return the words of a clause that have a synonym."""
    phrases = [clause.subject] + ([clause.object] if clause.object else [])
    words = [clause.verb, clause.place, *(w for p in phrases for w in (p.noun, p.adjective))]
    return [word for word in words if synonym(word) != word]


def synonym(word: str) -> str:
    """Return the synonym of a word, or the word itself."""
    for table in (lx.VERB_SYNONYMS, lx.NOUN_SYNONYMS, lx.ADJECTIVE_SYNONYMS, lx.PLACE_SYNONYMS):
        if word in table:
            return table[word]
    return word


def draw_wording(
    rng: Random, clause: Clause, *, passive: float = 0.3, front: float = 0.3, swap: float = 0.5
) -> Wording:
    can_front = [slot for slot in ("place", "time") if getattr(clause, slot)]
    return Wording(
        passive=clause.object is not None and rng.random() < passive,
        front=rng.choice(can_front) if can_front and rng.random() < front else "",
        synonyms=frozenset(word for word in replaceable_words(clause) if rng.random() < swap),
    )


def say(clause: Clause, wording: Wording | None = None) -> str:
    """Return a clause as an English sentence, with a capital letter at the start and a full stop at the end."""
    how = wording or Wording()

    def word(text: str) -> str:
        return synonym(text) if text in how.synonyms else text

    verb = word(clause.verb)
    if how.passive and clause.object is not None:
        many = bool(clause.object.count) or (clause.negated and _is_any(clause.object))
        be = "were" if many else "was"
        no = " not" if clause.negated and not _is_any(clause.object) else ""
        # at the start of a sentence, "not … any" becomes "no": "no apples were eaten"
        first = _phrase(clause.object, word, any_word="no" if clause.negated else "")
        core = f"{first} {be}{no} {lx.participle(verb)} by {_phrase(clause.subject, word, definite=True)}"
    else:
        did = f"did not {verb}" if clause.negated else lx.past(verb)
        core = f"{_phrase(clause.subject, word, definite=True)} {did}"
        if clause.object is not None:
            core += " " + _phrase(clause.object, word, any_word="any" if clause.negated else "")
    place, time = word(clause.place), clause.time
    fronted = {"place": place, "time": time, "": ""}[how.front]
    tail = " ".join(part for part in (place, time) if part and part != fronted)
    text = f"{fronted}, {core}" if fronted else core
    return capital(f"{text} {tail}".strip() + ".")


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def fill(clause: Clause, slot: str, value: Phrase | str) -> Clause:
    return replace(clause, **{slot: value})  # type: ignore[arg-type]


def swap_roles(clause: Clause) -> Clause:
    """Return the clause with subject and object exchanged. Both must be people."""
    assert clause.object is not None
    return replace(clause, subject=clause.object, object=clause.subject)


def is_person(phrase: Phrase | None) -> bool:
    return phrase is not None and (
        phrase.is_name or phrase.noun in ("person", *lx.PEOPLE) or lx.PARENTS.get(phrase.noun) in lx.PEOPLE
    )


def _is_any(phrase: Phrase) -> bool:
    return not phrase.count and not is_person(phrase)


def _phrase(phrase: Phrase, word: Callable[[str], str], *, definite: bool = False, any_word: str = "") -> str:
    if phrase.is_name:
        return phrase.noun
    noun, adjective = word(phrase.noun), word(phrase.adjective)
    if phrase.count:
        return " ".join(part for part in (phrase.count, adjective, lx.plural(noun)) if part)
    if any_word and _is_any(phrase):
        return " ".join(part for part in (any_word, adjective, lx.plural(noun)) if part)
    body = f"{adjective} {noun}".strip()
    return f"the {body}" if definite or is_person(phrase) else f"{lx.article(body)} {body}"
