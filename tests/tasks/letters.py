"""A tokenizer of letters and a split for it. They do not need torch, so child processes of a test start quickly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from krona.tasks import Split, tokenise

END = 1


class Letters:
    """A tokenizer whose tokens are letters, with T5's end token. It counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, text: str | Sequence[str], truncation: bool = False, max_length: int | None = None
    ) -> dict[str, Any]:
        self.calls += 1
        if not isinstance(text, str):
            return {"input_ids": [self(one, truncation, max_length)["input_ids"] for one in text]}
        letters = [ord(letter) for letter in text]
        return {"input_ids": (letters[: max_length - 1] if truncation and max_length else letters) + [END]}


def split(rows: int = 5) -> Split:
    return Split(
        ids=[f"train-{i}" for i in range(rows)],
        sources=["x" * (i + 1) for i in range(rows)],
        targets=["not so short" if i % 2 else "0" for i in range(rows)],
        texts=[],
    )


class Encoding:
    """An encoding of texts with this tokenizer, like that of a family of backbones."""

    key, label_type = "1", "int32"

    def __init__(self, tokenizer: Letters) -> None:
        self.tokenizer = tokenizer

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        texts = [split.sources[row] for row in rows]
        return self.tokenizer(texts, truncation=longest is not None, max_length=longest)

    def label(self, target: str) -> list[Any]:
        return list(self.tokenizer(target)["input_ids"])


def tokens(tmp_path: Path, tokenizer: Letters, *, rows: int = 5, length: int = 4, name: str = "t") -> Any:
    return tokenise(
        split(rows),
        Encoding(tokenizer),
        max_source_length=length,
        cache_dir=tmp_path / "cache",
        tokenizer_fingerprint=name,
    )
