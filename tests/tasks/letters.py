"""A tokenizer of letters, a split for it, and its token ids."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from krona.backbones.families.encoder_decoder import EncoderDecoder
from krona.tasks import Split, tokenise

END = 1


class Letters:
    """A tokenizer whose tokens are letters, with T5's end token. It counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, text: str | Sequence[str], *, max_length: int = 10_000, **_: Any) -> dict[str, Any]:
        self.calls += 1
        if not isinstance(text, str):
            return {"input_ids": [self(one, max_length=max_length)["input_ids"] for one in text]}
        letters = [ord(letter) for letter in text[: max_length - 1]]
        return {"input_ids": [*letters, END]}


def tokens(tmp_path: Path, tokenizer: Letters, *, rows: int = 5, length: int = 4, name: str = "t") -> Any:
    split = Split(
        ids=[f"train-{i}" for i in range(rows)],
        sources=["x" * (i + 1) for i in range(rows)],
        targets=["not so short" if i % 2 else "0" for i in range(rows)],
        texts=[],
    )
    return tokenise(
        split,
        EncoderDecoder(None, tokenizer),
        max_source_length=length,
        cache_dir=tmp_path / "cache",
        tokenizer_fingerprint=name,
    )
