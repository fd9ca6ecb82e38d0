"""Draw rows of the sample tasks with one sentence: acceptability (cola) and sentiment (sst2)."""

from collections.abc import Callable
from random import Random

import lexicon as lx
from clauses import Row, capital

NEAR = ("near", "behind", "beside", "with")
SINGULAR, PLURAL = 0, 1
PRESENT = ("sleep", "dance", "wait", "work", "laugh", "fall", "hum", "whisper", "arrive")
TRANSITIVE = ("lift", "find", "repair", "hide", "lose", "buy", "push", "pull")
SELF = {"female": "herself", "male": "himself", "many": "themselves"}
DENIERS = ("nobody", "no critic", "hardly anyone")
NEGATED = ("is not", "is never", "is far from", "is anything but", "is hardly", "was not at all")
ADVERBS = ("often", "rarely", "quietly", "always", "never", "usually")


def cola(rng: Random) -> Row:
    """Draw a row of cola. The label is 1 for an acceptable sentence and 0 for an unacceptable sentence.

    Both kinds of sentences have the same sentence patterns. An unacceptable sentence has one error.
    """
    label = int(rng.random() < 0.55)
    good, bad = rng.choice(PHENOMENA)(rng)
    return {"sentence": good if label else bad, "label": label}


def sst2(rng: Random) -> Row:
    """Draw a row of sst2. The label is 1 for a positive opinion and 0 for a negative opinion.

    A negation reverses the opinion that a word expresses. If two clauses disagree, the main clause decides.
    """
    label = rng.randrange(2)
    frame = rng.randrange(6)
    main = opinion(rng, label)
    if frame <= 1:
        return {"sentence": finish(main), "label": label}
    if frame == 2:
        return {"sentence": finish(f"{main} and {opinion(rng, label)}"), "label": label}
    other = opinion(rng, 1 - label)
    text = (f"{other}, but {main}", f"although {other}, {main}", f"{main}, even if {other}")[frame - 3]
    return {"sentence": finish(text), "label": label}


def opinion(rng: Random, positive: int, *, turned: float = 0.3) -> str:
    """Draw a clause that expresses a positive or a negative opinion.

    The opinion is expressed by a word, or, with the probability `turned`, by a negated word of the opposite opinion.
    """
    negated = rng.random() < turned
    plain = bool(positive) != negated  # whether the word itself, without a negation, is positive
    aspect = rng.choice(lx.ASPECTS)
    if rng.random() < 0.3:
        verb = rng.choice(lx.LIKED if plain else lx.DISLIKED)
        who = rng.choice(DENIERS if negated else ("everyone", "I", "the critics"))
        return f"{who} {verb} the {aspect}"
    word = rng.choice(lx.GOOD if plain else lx.BAD)
    how = rng.choice(NEGATED if negated else ("is", "is truly", "is very", "is rather", "was always", "seems quite"))
    return f"the {aspect} {how} {word}"


def finish(text: str) -> str:
    return capital(text) + "."


def agreement(rng: Random) -> tuple[str, str]:
    """Draw two sentences. In the first, the verb agrees in number with its subject. In the second, it does not."""
    number = rng.randrange(2)
    subject = _noun(rng, number)
    if rng.random() < 0.7:
        subject += f" {rng.choice(NEAR)} the {_noun(rng, rng.randrange(2))}"
    verb, tail = rng.choice(PRESENT), rng.choice(("", *lx.PLACES))
    forms = (lx.third_person(verb), verb) if rng.random() < 0.6 else rng.choice((("is", "are"), ("was", "were")))
    end = "" if forms[1] == verb else " " + rng.choice(lx.PERSON_ADJECTIVES)
    return tuple(finish(f"the {subject} {form}{end} {tail}".strip()) for form in (forms[number], forms[1 - number]))  # type: ignore[return-value]


def auxiliary(rng: Random) -> tuple[str, str]:
    """Draw two sentences with an auxiliary verb. In the second, the main verb has the wrong form."""
    verb = rng.choice((*PRESENT, *TRANSITIVE))
    rest = f" the {_noun(rng, rng.randrange(2), things=True)}" if verb in TRANSITIVE else ""
    forms = {"has": lx.participle(verb), "is": lx.gerund(verb), "will": verb, "did not": verb, "can": verb}
    word = rng.choice(list(forms))
    wrong = rng.choice([form for form in (verb, lx.gerund(verb), lx.third_person(verb)) if form != forms[word]])
    frame = f"the {_adjective(rng)}{_noun(rng, SINGULAR)} {word} {{}}{rest} {rng.choice(('', *lx.PLACES))}"
    return finish(frame.format(forms[word]).strip()), finish(frame.format(wrong).strip())


def reflexive(rng: Random) -> tuple[str, str]:
    """Draw two sentences with a reflexive pronoun. In the second, the pronoun does not agree with the subject."""
    gender = rng.choice(("female", "male", "many"))
    if gender == "many":
        subject = f"the {_noun(rng, PLURAL)}"
    else:
        noun = rng.choice(sorted(lx.FEMALE if gender == "female" else lx.MALE))
        subject = noun if noun in lx.NAMES else f"the {noun}"
    verb = lx.past(rng.choice(("blame", "praise", "help", "watch")))
    wrong = rng.choice([other for other in SELF if other != gender])
    frame = f"{subject} {verb} {{}} {rng.choice(('', *lx.PLACES))}"
    return finish(frame.format(SELF[gender]).strip()), finish(frame.format(SELF[wrong]).strip())


def determiner(rng: Random) -> tuple[str, str]:
    """Draw two sentences with a determiner. In the second, determiner and noun do not agree in number."""
    number = rng.randrange(2)
    words = (("this", "every", "each", "one"), ("these", "many", "several", "two"))
    verb = lx.past(rng.choice(TRANSITIVE))
    frame = f"the {_noun(rng, rng.randrange(2))} {verb} {{}} {_adjective(rng)}{_noun(rng, number, things=True)}"
    frame += f" {rng.choice(('', *lx.PLACES))}".rstrip()
    return finish(frame.format(rng.choice(words[number]))), finish(frame.format(rng.choice(words[1 - number])))


def order(rng: Random) -> tuple[str, str]:
    """Draw two sentences. The second has a wrong word order: two words are exchanged, or the verb is at the end."""
    words = ["the", rng.choice(lx.PERSON_ADJECTIVES), _noun(rng, rng.randrange(2)), lx.past(rng.choice(TRANSITIVE))]
    words += ["the", _noun(rng, rng.randrange(2), things=True), *rng.choice(lx.PLACES).split()]
    wrong = list(words)
    if rng.random() < 0.25:
        wrong.append(wrong.pop(3))
    else:
        at = rng.choice((0, 1, 2, 3, 4, 6, 7))
        wrong[at], wrong[at + 1] = wrong[at + 1], wrong[at]
    return finish(" ".join(words)), finish(" ".join(wrong))


def arguments(rng: Random) -> tuple[str, str]:
    """Draw two sentences. In the second, the object of the verb is missing, or there is one object too many."""
    subject, place = f"the {_adjective(rng)}{_noun(rng, rng.randrange(2))}", rng.choice(lx.PLACES)
    thing = f"the {_noun(rng, SINGULAR, things=True)}"
    alone = rng.choice(("sleep", "laugh", "arrive", "fall", "depart", "wait"))
    with_object = rng.choice(("lift", "find", "repair", "buy", "lose"))
    pairs = (
        (f"{subject} {lx.past(alone)} {place}", f"{subject} {lx.past(alone)} {thing} {place}"),
        (f"{subject} {lx.past(with_object)} {thing} {place}", f"{subject} {lx.past(with_object)} {place}"),
    )
    good, bad = rng.choice(pairs)
    return finish(good), finish(bad)


def question(rng: Random) -> tuple[str, str]:
    """Draw two questions. The second has a superfluous object, a wrong form of the verb or a wrong word order."""
    verb, who = rng.choice(TRANSITIVE), f"the {_adjective(rng)}{_noun(rng, rng.randrange(2))}"
    place, thing = rng.choice(lx.PLACES), f"the {_noun(rng, SINGULAR, things=True)}"
    good = rng.choice((f"what did {who} {verb} {place}", f"who {lx.past(verb)} {thing} {place}"))
    if good.startswith("what"):
        bad = rng.choice((f"what did {who} {verb} {thing} {place}", f"what did {who} {lx.past(verb)} {place}"))
    else:
        bad = rng.choice((f"who {thing} {lx.past(verb)} {place}", f"who did {lx.past(verb)} {thing} {place}"))
    return capital(good) + "?", capital(bad) + "?"


def adverb(rng: Random) -> tuple[str, str]:
    """Draw two sentences with an adverb. In the first, it is before the verb. In the second, its position is wrong."""
    how, verb = rng.choice(ADVERBS), lx.past(rng.choice(TRANSITIVE))
    who, noun = f"the {_noun(rng, rng.randrange(2))}", _noun(rng, SINGULAR, things=True)
    good = f"{who} {how} {verb} the {noun}"
    bad = rng.choice((f"{who} {verb} {how} the {noun}", f"{who} {verb} the {how} {noun}"))
    tail = rng.choice(("", *lx.PLACES))
    return finish(f"{good} {tail}".strip()), finish(f"{bad} {tail}".strip())


PHENOMENA: tuple[Callable[[Random], tuple[str, str]], ...] = (
    agreement, agreement, auxiliary, reflexive, determiner, order, arguments, question, adverb,
)  # fmt: skip


def _noun(rng: Random, number: int, *, things: bool = False) -> str:
    kinds = lx.THINGS if things else (*lx.PEOPLE, *lx.ANIMALS)
    noun = rng.choice(lx.MEMBERS[rng.choice(kinds)])
    return lx.plural(noun) if number == PLURAL else noun


def _adjective(rng: Random) -> str:
    return rng.choice(("old", "young", "small", "new")) + " " if rng.random() < 0.4 else ""
