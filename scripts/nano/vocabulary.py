"""Build a T5 tokenizer from texts.

The tokens are the most frequent words of the texts, common English words, parts of words, and all characters of ASCII
and Latin-1. Unknown words are split into parts. Digits are always single tokens: "12.5" becomes `▁ 1 2 . 5`. Therefore,
a model learns the tokens of labels from larger numbers, although labels never occur in pretraining.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from transformers import T5Tokenizer

EXTRA_IDS = 16  # number of T5's sentinel tokens that are used
SPECIAL = ("<pad>", "</s>", "<unk>")
CHARACTERS = "".join(chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))) + "–—‘’“”…€"
COMMON = Path(__file__).with_name("common_words.txt").read_text(encoding="utf-8").split()


def train_tokenizer(texts: Iterable[str], *, size: int = 2048) -> T5Tokenizer:
    """Return a tokenizer with at most `size` tokens, including T5's sentinels. Equal texts give equal tokenizers."""
    words = Counter(word for text in texts for word in re.findall(r"[^\W\d_]+", text))
    scored = {f"<extra_id_{i}>": 0.0 for i in reversed(range(EXTRA_IDS))}
    scored |= dict.fromkeys(("▁", *CHARACTERS), -14.0)  # the lowest score, so that whole words are preferred
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


def _parts(words: Iterable[str]) -> list[str]:
    """Return parts of words. Parts at the beginning of a word start with the mark `▁`.

    They are sorted by the number of tokens that they save, from the largest to the smallest.
    """
    counts: Counter[str] = Counter()
    for word in sorted({word.lower() for word in words}):
        for length in range(2, 6):
            for at in range(len(word) - length + 1):
                counts[word[at : at + length] if at else f"▁{word[:length]}"] += 1
    return sorted(counts, key=lambda part: (-counts[part] * (len(part.strip("▁")) - 1), part))
