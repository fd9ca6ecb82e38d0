"""A T5 tokenizer made from a text, and T5's span corruption.

The pieces are the text's words, common words and word parts of English, and every character of ASCII and Latin-1, so
that an unknown word falls into parts instead of vanishing. Digits are always single pieces: "12.5" is `▁ 1 2 . 5`, so
the pieces of a label are known from larger numbers though the label itself never occurs in pretraining.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from random import Random

from transformers import T5Tokenizer

SPECIAL = ("<pad>", "</s>", "<unk>")
EXTRA_IDS = 16
CHARACTERS = "".join(chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))) + "–—‘’“”…€"
COMMON = """
sentence question premise hypothesis about above across after again against all almost also always among an
and another any are as ask at away back be because become been before being best better between both but by
came can change child city come company could country course day did different do does done down during each
early end enough even ever every face fact family far feel few first follow for found from full gave general
get give go good government great group had half hand hard has have he head help her here high him his home
hour house how however idea if important in into is it its just keep kind know large last late later leave
left less let life like line little live long look made make man many may me mean men might million minute
money month more morning most mother move much must my name national near need never new news next night no
not nothing now number of off often old on once one only open or order other our out over own part people
percent person place plan play point possible power present president problem program public put read real
reason report right room said same saw say school second see seem service set several she should show side
since small so some something soon special start state still stop story study such sure system take tell
than that the their them then there these they thing think third this those though thought through time to
today together told too took toward town tried true try turn two under until up upon us use very want war
was water way we week well went were what when where which while white who whole why will with within
without woman women word work world would write year yes yet you young your
""".split()  # noqa: SIM905


def train_tokenizer(texts: Iterable[str], *, size: int = 2048) -> T5Tokenizer:
    """A T5 tokenizer of at most `size` pieces, sentinels included, the same for the same texts."""
    words = Counter(word for text in texts for word in re.findall(r"[^\W\d_]+", text))
    scored = {f"<extra_id_{i}>": 0.0 for i in reversed(range(EXTRA_IDS))}
    scored |= dict.fromkeys(("▁", *CHARACTERS), -14.0)  # the dearest: whole words win
    room = size - len(SPECIAL) - len(scored)
    total = sum(words.values()) or 1
    ranked = sorted(words, key=lambda word: (-words[word], word))[: max(0, room * 2 // 3)]
    for word in ranked:
        scored[f"▁{word}"] = math.log(words[word] / total)
    rare = math.log(1 / total) - 1.0 if words else -9.0
    for word in COMMON:
        if len(scored) < size - len(SPECIAL) - room // 6:
            scored.setdefault(f"▁{word}", rare)
    for part in _parts([*words, *COMMON]):
        if len(scored) >= size - len(SPECIAL):
            break
        scored.setdefault(part, -11.0)
    pieces = [(token, 0.0) for token in SPECIAL]
    pieces += sorted(scored.items(), key=lambda piece: (piece[0].startswith("<extra_id"), -piece[1]))
    return T5Tokenizer(vocab=pieces, extra_ids=EXTRA_IDS, model_max_length=512)


def corrupt(ids: list[int], sentinels: list[int], rng: Random, *, density: float = 0.2) -> tuple[list[int], list[int]]:
    """T5's span corruption of one text without its end of sequence: (source, target), both still without it.

    About `density` of the tokens go, in spans of one to four; each span leaves a sentinel.
    """
    source, target, at, span = list[int](), list[int](), 0, 0
    chance = density / 2.5 / (1.0 - density)  # 2.5: the mean length of a span
    while at < len(ids):
        if span < len(sentinels) and (rng.random() < chance or (span == 0 and at == len(ids) - 1)):
            length = rng.randint(1, 4)
            source.append(sentinels[span])
            target += [sentinels[span], *ids[at : at + length]]
            at, span = at + length, span + 1
            source += ids[at : at + 1]  # spans never touch
            at += 1
        else:
            source.append(ids[at])
            at += 1
    return source, target


def _parts(words: Iterable[str]) -> list[str]:
    """Beginnings (with the word mark) and inner parts of words, those that save most characters first."""
    counts: Counter[str] = Counter()
    for word in sorted({word.lower() for word in words}):
        for length in range(2, 6):
            for at in range(len(word) - length + 1):
                counts[word[at : at + length] if at else f"▁{word[:length]}"] += 1
    return sorted(counts, key=lambda part: (-counts[part] * (len(part.strip("▁")) - 1), part))
