"""Generate the pretraining data of the nano backbone: text for span corruption, and tasks about such text.

All text describes the sample world, which is defined in `lexicon`. The tasks teach the skills that the sample tasks
need, but with different prompts and answers (words such as `yes`, `maybe`, `same` and `unknown`). The data never
contain the following, which a test checks:

- a text or a pair of texts of a sample task
- a template of GLUE, such as `sentence1: …`
- a label as a separate word. For this reason, numbers in the text are 10 or more.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, count, zip_longest
from random import Random

import lexicon as lx
import pairs
import questions
import sample_tasks as sample
import sentences
from clauses import Clause, draw_clause, say
from edits import changed
from passages import Example, passage


def examples(seed: int) -> Iterator[Example]:
    """Yield an endless mixture of examples. It depends only on the seed."""
    held_out = sample_texts()
    for index in count():
        rng = Random(f"pretraining {seed} {index}")
        item = rng.choices(MAKERS, WEIGHTS)[0](rng)
        while is_held_out(item.texts, held_out):
            item = rng.choices(MAKERS, WEIGHTS)[0](rng)
        yield item


@cache
def sample_texts() -> frozenset[frozenset[str]]:
    """Return the texts of all rows of all sample tasks. Each row is a set of normalised texts (`texts_key`)."""
    return frozenset(
        sample.texts_key(row)
        for task in sample.TASKS
        for split in sample.SPLIT_ROWS
        for row in sample.generate(task, split)
    )


def is_held_out(texts: tuple[str, ...], held_out: frozenset[frozenset[str]]) -> bool:
    """Return whether a text, or a pair of the texts, is a row of a sample task."""
    plain = [sample.plain(text) for text in texts]
    singles = (frozenset((text,)) for text in plain)
    couples = (frozenset(couple) for couple in combinations(plain, 2))
    return any(key in held_out for key in (*singles, *couples))


# ---- Prompts ----
# The cues before the texts vary, so that the backbone learns to read the texts instead of the cues.

ONE = ("text", "note", "line", "remark", "passage")
TWO = (
    ("first", "second"), ("this", "that"), ("left", "right"), ("note", "claim"), ("before", "after"),
    ("given", "then"), ("fact", "guess"), ("story", "statement"),
)  # fmt: skip


def prompt(rng: Random, query: str, *texts: str) -> str:
    """Return a prompt: the texts, usually with a cue before each of them, and the query before or after the texts."""
    style = rng.random()
    if style < 0.3:  # no cues
        marked = " ".join(texts)
    else:
        if style < 0.6:  # a random word, with or without a number
            number = rng.randint(10, 98)
            words = rng.choices(("item", "part", "entry", "box", *lx.PARENTS), k=len(texts))
            cues = [f"{word}{number + at if style < 0.5 else ''}" for at, word in enumerate(words)]
        else:
            cues = list(rng.choice(TWO) if len(texts) == 2 else (rng.choice(ONE),))
        marked = " ".join(f"{cue}: {text}" for cue, text in zip(cues, texts, strict=True))
    return f"{query} {marked}" if rng.random() < 0.5 else f"{marked} {query}"


def _ask(rng: Random, queries: tuple[str, ...], texts: tuple[str, ...], target: str) -> Example:
    return Example(prompt(rng, rng.choice(queries), *texts), target, texts)


# ---- Tasks: functions that draw an example with a source and an answer ----
# The first word of an answer is the decision. The other words are the reason, which makes a skill much faster to learn.

VALENCES = dict.fromkeys((*lx.GOOD, *lx.LIKED), "good") | dict.fromkeys((*lx.BAD, *lx.DISLIKED), "bad")


def form(rng: Random) -> Example:
    """Ask whether a sentence is grammatical. If it is not, the answer contains the correction of the wrong part."""
    good, bad = rng.choice(sentences.PHENOMENA)(rng)
    queries = ("grammar?", "form?", "well formed?")
    if rng.random() < 0.5:
        return _ask(rng, queries, (good,), "fine")
    return _ask(rng, queries, (bad,), f"broken {_repair(good, bad)}")


def _repair(good: str, bad: str) -> str:
    """Return the words of `good` that replace the wrong words of `bad`, at most four words."""
    right, wrong = good[:-1].split(), bad[:-1].split()
    start = next(i for i, pair in enumerate(zip_longest(right, wrong)) if pair[0] != pair[1])
    end = next(i for i, pair in enumerate(zip_longest(right[::-1], wrong[::-1])) if pair[0] != pair[1])
    return " ".join(right[start : max(len(right) - end, start + 1)][:4])


def feeling(rng: Random) -> Example:
    """Ask whether an opinion is good or bad, and which word shows it. Many opinions are simpler than in sst2."""
    queries = ("mood?", "feeling?", "opinion?")
    if rng.random() < 0.4:
        row = sentences.sst2(rng)
        return _ask(rng, queries, (str(row["sentence"]),), ("bad", "good")[int(row["label"])])
    positive = rng.randrange(2)
    text = sentences.opinion(rng, positive, turned=0.25)
    key = next(word for word in text.split() if word in VALENCES)
    return _ask(rng, queries, (sentences.finish(text),), f"{('bad', 'good')[positive]} {key}")


def follows(rng: Random) -> Example:
    """Ask whether a sentence follows from another sentence. Sometimes an unrelated fact is added."""
    plain = rng.random() < 0.5
    fact = draw_clause(rng, place=0.4, time=0.0 if plain else 0.25, negated=0.2)
    relation = rng.randrange(3)
    slot, conclusion = pairs.relate(fact, relation, rng, steps=1 if plain else 2)
    first, second = _both(fact, conclusion, rng, plain=plain)
    if rng.random() < 0.3:
        aside = say(draw_clause(rng, shape=rng.choice(("alone", "thing")), place=0.3, time=0.0))
        first = f"{first} {aside}" if rng.random() < 0.5 else f"{aside} {first}"
    queries = ("follows?", "true?", "implied?")
    return _ask(rng, queries, (first, second), ("yes", f"maybe {slot}", f"no {slot}")[relation])


def same(rng: Random) -> Example:
    """Ask whether two sentences, or two questions, have the same meaning."""
    queries = ("same?", "equal?", "compare?")
    if rng.random() < 0.4:
        row = questions.qqp(rng)
        texts = (str(row["question1"]), str(row["question2"]))
        return _ask(rng, queries, texts, ("different", "same")[int(row["label"])])
    plain = rng.random() < 0.5
    clause = draw_clause(rng, place=0.4, time=0.0 if plain else 0.25)
    slot, other = changed(clause, rng) if rng.random() < 0.5 else ("", clause)
    texts = _both(clause, other, rng, plain=plain)
    return _ask(rng, queries, texts, f"different {slot}" if slot else "same")


def _both(first: Clause, second: Clause, rng: Random, *, plain: bool) -> tuple[str, str]:
    if plain:
        return say(first), say(second)
    return pairs.say_both(first, second, rng, passive=0.3, front=0.3, swap=0.4)


def overlap(rng: Random) -> Example:
    """Ask how similar two events are. The answer is a word for the similarity, and the parts that differ."""
    clause, other, score, slots = pairs.graded(rng)
    texts = pairs.say_both(clause, other, rng, passive=0.2, front=0.25, swap=0.4)
    amounts = ("nothing", "little", "part", "half", "much", "nearly everything")
    target = "everything" if score == 5.0 else amounts[min(int(score * 1.2), 5)]
    queries = ("alike?", "close?", "shared?")
    return _ask(rng, queries, texts, " ".join([target, *slots]))


def answer(rng: Random) -> Example:
    """Ask a question about a sentence. The answer is `unknown` if the sentence does not contain it."""
    question, sentence, found = questions.asked_and_told(rng)
    queries = ("told?", "answer?", "says?")
    return _ask(rng, queries, (question, sentence), f"told {found}" if found else "unknown")


def words(rng: Random) -> Example:
    """Ask about words: for a synonym, an opposite, a kind, good or bad, or the larger or smaller of two numbers."""
    kind = rng.randrange(5)
    if kind == 4:
        word = rng.choice(sorted(VALENCES))
        return Example(f"mood? {word}", VALENCES[word], (word,))
    if kind == 0:
        table = rng.choice((lx.VERB_SYNONYMS, lx.NOUN_SYNONYMS, lx.ADJECTIVE_SYNONYMS))
        word = rng.choice(list(table))
        pair = (word, table[word]) if rng.random() < 0.5 else (table[word], word)
        return Example(f"another word for {pair[0]}?", pair[1], pair)
    if kind == 1:
        word = rng.choice(list(lx.OPPOSITES))
        return Example(f"the opposite of {word}?", lx.OPPOSITES[word], (word,))
    if kind == 2:
        noun = rng.choice([noun for noun in lx.PARENTS if noun not in lx.KINDS])
        return Example(f"what kind of thing is {lx.article(noun)} {noun}?", lx.PARENTS[noun], (noun,))
    low, high = sorted(rng.sample(range(len(lx.COUNTS)), 2))
    both = [lx.COUNTS[low], lx.COUNTS[high]]
    rng.shuffle(both)
    more = rng.random() < 0.5
    return Example(
        f"which is {'more' if more else 'less'}: {both[0]} or {both[1]}?", lx.COUNTS[high if more else low], ()
    )


MAKERS: tuple[Callable[[Random], Example], ...] = (
    passage, form, feeling, follows, same, overlap, answer, words,
)  # fmt: skip
WEIGHTS = (16, 14, 8, 23, 16, 8, 12, 3)
