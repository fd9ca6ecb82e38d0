"""The words of the sample world (from lexicon.json), their relations (kinds, synonyms, opposites) and their forms.

The sample world is the set of people, things, places and events that the texts of the sample tasks describe. The labels
of the sample tasks follow from the tables in this module. Clauses contain the first word of a synonym pair. The second
word occurs only in the text of a sentence, in place of the first word.
"""

import json
from pathlib import Path
from typing import Any

_TABLES: dict[str, Any] = json.loads(Path(__file__).with_name("lexicon.json").read_text(encoding="utf-8"))


def _words(*keys: str) -> list[tuple[str, ...]]:
    return [tuple(_TABLES[key]) for key in keys]


def _pairs(*keys: str) -> list[dict[str, str]]:
    return [dict(_TABLES[key]) for key in keys]


# from a kind to the kind above it and its members
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    kind: (above, tuple(members)) for kind, (above, *members) in _TABLES["kinds"].items()
}
PEOPLE, ANIMALS, FOODS, THINGS, NAMES, FEMALE, MALE = _words(
    "people", "animals", "foods", "things", "names", "female", "male"
)
# verbs, grouped by their object: none, a thing, food, or a person or an animal
INTRANSITIVE, THING_VERBS, FOOD_VERBS, PERSON_VERBS = _words(
    "intransitive", "thing_verbs", "food_verbs", "person_verbs"
)
PERSON_ADJECTIVES, THING_ADJECTIVES = _words("person_adjectives", "thing_adjectives")
PLACES, TIMES, COUNTS = _words("places", "times", "counts")
ASPECTS, GOOD, BAD, LIKED, DISLIKED = _words("aspects", "good", "bad", "liked", "disliked")

IRREGULAR_VERBS: dict[str, tuple[str, str]] = {  # from the base form to the past form and the participle
    verb: (past, participle) for verb, (past, participle) in _TABLES["irregular_verbs"].items()
}
(IRREGULAR_PLURALS,) = _pairs("irregular_plurals")
VERB_SYNONYMS, NOUN_SYNONYMS, ADJECTIVE_SYNONYMS, PLACE_SYNONYMS = _pairs(
    "verb_synonyms", "noun_synonyms", "adjective_synonyms", "place_synonyms"
)
VERB_KINDS, VERB_OPPOSITES, ADJECTIVE_OPPOSITES = _pairs("verb_kinds", "verb_opposites", "adjective_opposites")


def both_ways(pairs: dict[str, str]) -> dict[str, str]:
    """Return the pairs and the reversed pairs. If a word occurs several times, an original or earlier pair is used."""
    return {**{right: left for left, right in reversed(pairs.items())}, **pairs}


OPPOSITES = {**both_ways(VERB_OPPOSITES), **both_ways(ADJECTIVE_OPPOSITES)}
PARENTS = {
    **{member: kind for kind, (_, members) in KINDS.items() for member in members},
    **{kind: above for kind, (above, _) in KINDS.items()},
}
MEMBERS: dict[str, tuple[str, ...]] = {
    **{kind: members for kind, (_, members) in KINDS.items()},
    **{
        above: tuple(k for k, (a, _) in KINDS.items() if a == above) for above in ("animal", "person", "food", "object")
    },
}
VERB_MEMBERS = {kind: verb for verb, kind in VERB_KINDS.items()}


def plural(noun: str) -> str:
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun in ("potato",) else "s")


def past(verb: str) -> str:
    """Return the past form of a verb, such as watched for watch."""
    return IRREGULAR_VERBS[verb][0] if verb in IRREGULAR_VERBS else _with_ed(verb)


def participle(verb: str) -> str:
    """Return the past participle of a verb, such as hidden for hide."""
    return IRREGULAR_VERBS[verb][1] if verb in IRREGULAR_VERBS else _with_ed(verb)


def third_person(verb: str) -> str:
    """Return the third person singular of a verb, such as watches for watch."""
    if verb.endswith(("s", "x", "ch", "sh", "o")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


def gerund(verb: str) -> str:
    """Return the -ing form of a verb, such as hiding for hide."""
    if verb in ("drag", "hug", "chat", "hum", "jog", "nap", "drop", "get", "run"):
        return verb + verb[-1] + "ing"
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    return verb + "ing"


def article(phrase: str) -> str:
    """Return `a` or `an`. The first letter decides, because the lexicon has no word for which this rule is wrong."""
    return "an" if phrase[0] in "aeiou" else "a"


def _with_ed(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + "ed"
