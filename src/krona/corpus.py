"""What the nano backbone is pretrained on: text of the sample world, corrupted, and tasks that ask about it.

The skills that the sample tasks need are taught in other forms: other prompts, other answers (words such as `yes`,
`maybe`, `same`, `unknown`). Three things never occur here, and a test looks for them: a text or pair of texts of a
sample task, a template of GLUE's (`sentence1: …`), a label as a word of its own (numbers in the text are 10 or more).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from random import Random

from krona import sample
from krona.sample import lexicon as lx
from krona.sample import pairs, questions, sentences
from krona.sample.clauses import capital, draw_clause, draw_wording, say


@dataclass(frozen=True)
class Example:
    """One pretraining example. `texts` are the sentences in it, for the comparison with the sample tasks."""

    source: str
    target: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """A few sentences for span corruption."""

    text: str
    texts: tuple[str, ...]


def examples(seed: int, *, start: int = 0) -> Iterator[Example | Document]:
    """An endless mixture, the same for the same seed; `start` skips that many examples at once."""
    held_out = sample_texts()
    index = start
    while True:
        rng = Random(f"pretraining {seed} {index}")  # by index, so that a resumed run goes on where it stopped
        item = rng.choices(MAKERS, WEIGHTS)[0](rng)
        while is_held_out(item.texts, held_out):
            item = rng.choices(MAKERS, WEIGHTS)[0](rng)
        yield item
        index += 1


@cache
def sample_texts() -> frozenset[frozenset[str]]:
    """The texts of every row of every sample task, as unordered keys."""
    return frozenset(
        sample.texts_key(row)
        for task in sample.TASKS
        for split in sample.SPLIT_ROWS
        for row in sample.generate(task, split)
    )


def is_held_out(texts: tuple[str, ...], held_out: frozenset[frozenset[str]]) -> bool:
    """Whether a text, or two of the texts together, are a row of a sample task."""
    plain = [sample.plain(text) for text in texts]
    singles = (frozenset((text,)) for text in plain)
    couples = (frozenset(couple) for couple in combinations(plain, 2))
    return any(key in held_out for key in (*singles, *couples))


# ---- prompts: cues vary, so that the backbone reads what a text says rather than how it is introduced ----

ONE = ("text", "note", "line", "remark", "passage")
TWO = (
    ("first", "second"), ("this", "that"), ("text", "other text"), ("left", "right"), ("note", "claim"),
    ("line one", "line two"), ("before", "after"), ("given", "then"), ("fact", "guess"), ("story", "statement"),
)  # fmt: skip


def prompt(rng: Random, query: str, *texts: str) -> str:
    """The texts with cues before them, and the query before or after."""
    cues = rng.choice(TWO) if len(texts) == 2 else (rng.choice(ONE),)
    marked = " ".join(f"{cue}: {text}" for cue, text in zip(cues, texts, strict=True))
    if rng.random() < 0.2:
        marked = " ".join(texts)
    return f"{query} {marked}" if rng.random() < 0.5 else f"{marked} {query}"


def _ask(rng: Random, queries: tuple[str, ...], texts: tuple[str, ...], target: str) -> Example:
    return Example(prompt(rng, rng.choice(queries), *texts), target, texts)


# ---- running text ----


def passage(rng: Random) -> Document:
    """One to three sentences of the world: events, opinions, well-formed examples, lines with numbers."""
    makers = (_event, _event, _opinion, _grammatical, _numbers, _kind_of)
    texts = tuple(rng.choice(makers)(rng) for _ in range(rng.choice((1, 2, 2, 3))))
    return Document(" ".join(texts), texts)


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


# ---- tasks: (source, answer) ----


def form(rng: Random) -> Example:
    """Is a sentence well formed?"""
    good, bad = rng.choice(sentences.PHENOMENA)(rng)
    fine = rng.random() < 0.5
    text = good if fine else bad
    return _ask(
        rng,
        ("is this good English?", "well formed or broken?", "check the grammar."),
        (text,),
        "fine" if fine else "broken",
    )


def better(rng: Random) -> Example:
    """Which of two forms is the right one? The answer names the word in which they differ, or its neighbour."""
    good, bad = rng.choice(sentences.PHENOMENA)(rng)
    left = rng.random() < 0.5
    texts = (good, bad) if left else (bad, good)
    return _ask(rng, ("which one is good English?", "pick the better form."), texts, "former" if left else "latter")


def feeling(rng: Random) -> Example:
    """Is an opinion good or bad?"""
    row = sentences.sst2(rng)
    text = str(row["sentence"])
    return _ask(
        rng,
        ("how does it feel?", "praise or complaint?", "what is the mood?"),
        (text,),
        ("bad", "good")[int(row["label"])],
    )


def follows(rng: Random) -> Example:
    """Does the one follow from the other?"""
    if rng.random() < 0.6:
        row = pairs.mnli(rng)
        texts = (str(row["premise"]), str(row["hypothesis"]))
        target = ("yes", "maybe", "no")[int(row["label"])]
        return _ask(rng, ("does it follow?", "is it true then?", "can it be concluded?"), texts, target)
    row = pairs.rte(rng)
    texts = (str(row["sentence1"]), str(row["sentence2"]))
    return _ask(rng, ("is it sure?", "is it certain then?"), texts, ("sure", "unsure")[int(row["label"])])


def same(rng: Random) -> Example:
    """Do two sentences, or two questions, mean the same?"""
    if rng.random() < 0.5:
        row = pairs.mrpc(rng)
        texts = (str(row["sentence1"]), str(row["sentence2"]))
    else:
        row = questions.qqp(rng)
        texts = (str(row["question1"]), str(row["question2"]))
    return _ask(
        rng, ("same meaning?", "do they say the same?", "compare."), texts, ("different", "same")[int(row["label"])]
    )


def overlap(rng: Random) -> Example:
    """How much of one event does the other share, in words?"""
    row = pairs.stsb(rng)
    texts = (str(row["sentence1"]), str(row["sentence2"]))
    words = ("nothing", "little", "part", "half", "much", "nearly everything", "everything")
    score = float(row["label"])
    target = words[6] if score == 5.0 else words[min(int(score * 1.2), 5)]
    return _ask(rng, ("how much do they share?", "how close are they?", "how alike?"), texts, target)


def answer(rng: Random) -> Example:
    """What does the sentence answer? `unknown` where it does not."""
    row = questions.qnli(rng)
    texts = (str(row["question"]), str(row["sentence"]))
    query = ("can it be told from this?", "does it say so?")
    return _ask(rng, query, texts, ("told", "unknown")[int(row["label"])])


def extract(rng: Random) -> Example:
    """A question and its answer in a few words."""
    clause = draw_clause(rng, place=0.6, time=0.4)
    slot = rng.choice(questions.slots_of(clause))
    how = draw_wording(rng, clause, passive=0.0, front=0.0, swap=0.3)
    asked, text = questions.ask(clause, slot, how), say(clause, draw_wording(rng, clause))
    thing = clause.object
    found = {
        "subject": clause.subject.noun, "object": thing.noun if thing else "", "place": clause.place,
        "time": clause.time, "count": thing.count if thing else "",
    }[slot]  # fmt: skip
    return _ask(rng, ("answer.", "reply in short.", "give the answer."), (asked, text), found)


def words(rng: Random) -> Example:
    """Synonyms, opposites, kinds and numbers, a word at a time."""
    kind = rng.randrange(4)
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


MAKERS: tuple[Callable[[Random], Example | Document], ...] = (
    passage, form, better, feeling, follows, same, overlap, answer, extract, words,
)  # fmt: skip
WEIGHTS = (18, 12, 5, 7, 22, 16, 10, 9, 8, 3)
