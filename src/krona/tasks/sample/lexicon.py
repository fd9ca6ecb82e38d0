"""The words of the sample world and what holds between them: kinds, synonyms, opposites, forms.

Everything that the sample tasks call true rests on these tables, so a label can be read off them. The first word of a
synonym set is the one that clauses are built from; the others only replace it in text.
"""

from __future__ import annotations

# kind -> (the kind above it, its members)
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "bird": ("animal", ("sparrow", "robin", "owl", "crow", "parrot", "goose")),
    "insect": ("animal", ("ant", "bee", "moth", "beetle", "spider")),
    "pet": ("animal", ("cat", "dog", "rabbit", "hamster")),
    "worker": ("person", ("baker", "nurse", "farmer", "painter", "tailor", "pilot", "miner", "doctor", "lawyer")),
    "child": ("person", ("boy", "girl", "pupil", "toddler")),
    "relative": ("person", ("uncle", "aunt", "cousin", "nephew")),
    "fruit": ("food", ("apple", "pear", "plum", "lemon", "cherry", "peach")),
    "vegetable": ("food", ("carrot", "onion", "potato", "cabbage", "turnip")),
    "vehicle": ("object", ("car", "truck", "bicycle", "tractor", "van", "scooter")),
    "tool": ("object", ("hammer", "saw", "drill", "shovel", "axe", "wrench")),
    "garment": ("object", ("coat", "shirt", "hat", "scarf", "glove")),
    "instrument": ("object", ("piano", "violin", "flute", "drum", "guitar")),
    "container": ("object", ("basket", "box", "bag", "jar", "bucket")),
    "seat": ("object", ("chair", "sofa", "bench", "stool")),
}
PEOPLE: tuple[str, ...] = ("worker", "child", "relative")
ANIMALS: tuple[str, ...] = ("bird", "insect", "pet")
FOODS: tuple[str, ...] = ("fruit", "vegetable")
THINGS: tuple[str, ...] = ("vehicle", "tool", "garment", "instrument", "container", "seat")

IRREGULAR_PLURALS = {"person": "people", "child": "children", "goose": "geese"}
NAMES: tuple[str, ...] = (
    "Anna",
    "Ben",
    "Clara",
    "David",
    "Emma",
    "Frank",
    "Grace",
    "Henry",
    "Julia",
    "Leo",
    "Maria",
    "Oscar",
)
FEMALE_NAMES = frozenset(("Anna", "Clara", "Emma", "Grace", "Julia", "Maria"))
FEMALE = frozenset(("girl", "aunt", *FEMALE_NAMES))
MALE = frozenset(("boy", "uncle", "nephew", *(name for name in NAMES if name not in FEMALE_NAMES)))

# base -> (past, participle) where the rule "+ed" does not give them
IRREGULAR_VERBS: dict[str, tuple[str, str]] = {
    "buy": ("bought", "bought"), "sell": ("sold", "sold"), "hide": ("hid", "hidden"), "find": ("found", "found"),
    "lose": ("lost", "lost"), "break": ("broke", "broken"), "throw": ("threw", "thrown"), "eat": ("ate", "eaten"),
    "teach": ("taught", "taught"), "meet": ("met", "met"), "sleep": ("slept", "slept"), "run": ("ran", "run"),
    "speak": ("spoke", "spoken"), "weep": ("wept", "wept"), "sing": ("sang", "sung"), "leave": ("left", "left"),
    "get": ("got", "got"), "make": ("made", "made"), "see": ("saw", "seen"), "drag": ("dragged", "dragged"),
    "hug": ("hugged", "hugged"), "chat": ("chatted", "chatted"), "hum": ("hummed", "hummed"),
    "jog": ("jogged", "jogged"), "nap": ("napped", "napped"), "drop": ("dropped", "dropped"),
    "steal": ("stole", "stolen"), "fall": ("fell", "fallen"),
}  # fmt: skip

# verbs by what they take: nothing, a thing, food, a person or an animal
INTRANSITIVE: tuple[str, ...] = (
    "sleep",
    "sprint",
    "whisper",
    "laugh",
    "cry",
    "work",
    "arrive",
    "depart",
    "wait",
    "dance",
    "hum",
    "fall",
)
THING_VERBS: tuple[str, ...] = (
    "buy",
    "sell",
    "repair",
    "break",
    "lift",
    "drop",
    "hide",
    "find",
    "lose",
    "push",
    "pull",
    "throw",
    "steal",
)
FOOD_VERBS: tuple[str, ...] = ("eat", "buy", "sell", "cook", "peel", "throw", "find", "lose", "steal", "drop")
PERSON_VERBS: tuple[str, ...] = (
    "help",
    "praise",
    "blame",
    "call",
    "watch",
    "chase",
    "greet",
    "scold",
    "hug",
    "teach",
    "visit",
)

VERB_SYNONYMS = {
    "buy": "purchase", "repair": "fix", "break": "smash", "lift": "raise", "hide": "conceal", "find": "discover",
    "push": "shove", "pull": "drag", "throw": "toss", "eat": "consume", "help": "assist", "call": "phone",
    "watch": "observe", "chase": "pursue", "greet": "welcome", "scold": "rebuke", "hug": "embrace",
    "sleep": "nap", "laugh": "giggle", "cry": "weep", "work": "labor", "depart": "leave", "praise": "applaud",
}  # fmt: skip
VERB_KINDS = {"buy": "get", "sprint": "run", "whisper": "speak", "hum": "sing", "cook": "prepare", "watch": "see"}
VERB_OPPOSITES = {
    "buy": "sell", "repair": "break", "lift": "drop", "find": "lose", "push": "pull", "praise": "blame",
    "laugh": "cry", "arrive": "depart", "hide": "find",
}  # fmt: skip

NOUN_SYNONYMS = {
    "car": "automobile", "bicycle": "bike", "shovel": "spade", "sofa": "couch", "bag": "sack", "coat": "jacket",
    "doctor": "physician", "lawyer": "attorney", "truck": "lorry", "rabbit": "bunny", "bucket": "pail",
}  # fmt: skip

PERSON_ADJECTIVES: tuple[str, ...] = (
    "happy",
    "sad",
    "tall",
    "short",
    "young",
    "old",
    "rich",
    "poor",
    "kind",
    "cruel",
    "busy",
    "brave",
)
THING_ADJECTIVES: tuple[str, ...] = (
    "big",
    "small",
    "heavy",
    "light",
    "clean",
    "dirty",
    "new",
    "cheap",
    "expensive",
    "red",
    "blue",
)
ADJECTIVE_SYNONYMS = {
    "happy": "glad", "sad": "unhappy", "rich": "wealthy", "young": "youthful", "big": "large", "small": "little",
    "dirty": "filthy", "expensive": "costly", "brave": "bold", "old": "elderly", "cruel": "mean",
}  # fmt: skip
ADJECTIVE_OPPOSITES = {
    "happy": "sad", "tall": "short", "young": "old", "rich": "poor", "kind": "cruel", "big": "small",
    "heavy": "light", "clean": "dirty", "cheap": "expensive",
}  # fmt: skip

PLACES: tuple[str, ...] = (
    "in the garden", "in the kitchen", "at the market", "at the school", "in the office", "in the barn",
    "in the park", "at the station", "in the library", "in the forest", "in the cellar", "on the street",
)  # fmt: skip
PLACE_SYNONYMS = {
    "in the forest": "in the woods", "in the cellar": "in the basement", "on the street": "on the road",
    "in the garden": "in the yard",
}  # fmt: skip
TIMES: tuple[str, ...] = (
    "in the morning",
    "at noon",
    "in the evening",
    "at night",
    "on Monday",
    "on Friday",
    "on Sunday",
)
COUNTS: tuple[str, ...] = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

ASPECTS: tuple[str, ...] = (
    "film",
    "plot",
    "story",
    "acting",
    "music",
    "meal",
    "service",
    "book",
    "song",
    "hotel",
    "script",
    "ending",
)
GOOD: tuple[str, ...] = (
    "wonderful",
    "superb",
    "charming",
    "clever",
    "delightful",
    "funny",
    "brilliant",
    "lovely",
    "fresh",
    "gripping",
)
BAD: tuple[str, ...] = (
    "dull",
    "awful",
    "boring",
    "clumsy",
    "dreadful",
    "tedious",
    "bland",
    "weak",
    "stale",
    "annoying",
)
LIKED: tuple[str, ...] = ("loved", "enjoyed", "adored", "admired", "liked")
DISLIKED: tuple[str, ...] = ("hated", "loathed", "disliked", "despised", "resented")


def both_ways(pairs: dict[str, str]) -> dict[str, str]:
    """Opposites given one way, readable both ways; the first that was given wins."""
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
    """The plural of a noun of this lexicon."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun in ("potato",) else "s")


def past(verb: str) -> str:
    """The past form: watch -> watched."""
    return IRREGULAR_VERBS[verb][0] if verb in IRREGULAR_VERBS else _with_ed(verb)


def participle(verb: str) -> str:
    """The past participle: hide -> hidden."""
    return IRREGULAR_VERBS[verb][1] if verb in IRREGULAR_VERBS else _with_ed(verb)


def third_person(verb: str) -> str:
    """The form after a singular subject: watch -> watches."""
    if verb.endswith(("s", "x", "ch", "sh", "o")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


def gerund(verb: str) -> str:
    """The -ing form: hide -> hiding."""
    if verb in ("drag", "hug", "chat", "hum", "jog", "nap", "drop", "get", "run"):
        return verb + verb[-1] + "ing"
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    return verb + "ing"


def article(phrase: str) -> str:
    """`a` or `an`, by the first letter (no word of the lexicon is an exception)."""
    return "an" if phrase[0] in "aeiou" else "a"


def _with_ed(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + "ed"
