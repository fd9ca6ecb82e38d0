"""Compute the token ids of splits with `datasets.Dataset.map`, whose cache files all runs share.

The name of a cache file is a hash of the encoding's key and columns, the text fingerprint, the tokenizer fingerprint,
and the maximum length. Several runs may write the same file at the same time.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from krona.messages import KronaError
from krona.tasks.hub import hide_progress
from krona.tasks.rows import Split

if TYPE_CHECKING:
    import datasets


class Encoding(Protocol):
    """An object that turns texts into token ids. The families of `krona.backbones.families` implement it."""

    key: str  # identifies the format of the tokenised rows; the hash in the cache file's name depends on the key
    label_type: str  # the dtype of the labels, int32 or float32

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]: ...

    def texts(self, split: Split) -> Sequence[str]: ...

    def label(self, target: str) -> list[Any]: ...


@dataclass(frozen=True, kw_only=True)
class Tokenised:
    """A tokenised split."""

    rows: "datasets.Dataset"  # memory-mapped; each row has the lists of numbers `input_ids` and `labels`
    truncated: int  # number of source texts that were truncated to the maximum length

    def __len__(self) -> int:
        return len(self.rows)


def tokenise(
    split: Split, encoding: Encoding, *, max_source_length: int, cache_dir: Path, tokenizer_fingerprint: str
) -> Tokenised:
    """Return the token ids of a split. If the cache file does not exist, compute the token ids and write the file.

    Source texts are truncated to ``max_source_length`` tokens, including the end-of-sequence token. Targets are never
    truncated.

    Raises:
        KronaError: the cache file cannot be written or read.
    """
    from datasets import Dataset, Features, List, Value

    texts = replace(split, sources=encoding.texts(split))  # an encoder reads the columns, not the source text
    # The columns depend on the model. For example, BERT has token types, and DistilBERT does not.
    columns = [*encoding.sources(split, [0], longest=None)]
    key_parts = [encoding.key, *columns, texts.fingerprint, tokenizer_fingerprint, str(max_source_length)]
    key = hashlib.sha256("\n".join(key_parts).encode()).hexdigest()[:24]
    labels = {text: encoding.label(text) for text in sorted(set(split.targets))}

    def encode(rows: Sequence[int]) -> dict[str, list[Any]]:
        inputs = encoding.sources(split, rows, longest=None)  # not truncated yet, so that long texts can be counted
        long = [len(ids) > max_source_length for ids in inputs["input_ids"]]
        if any(long):
            inputs = encoding.sources(split, rows, longest=max_source_length)
        return {**inputs, "labels": [labels[split.targets[row]] for row in rows], "long": long}

    features = Features(
        {
            **{name: List(Value("int32")) for name in columns},
            "labels": List(Value(encoding.label_type)),
            "long": Value("bool"),
        }
    )
    file = cache_dir / f"{key}.arrow"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with hide_progress():
            rows = Dataset.from_dict({"row": np.arange(len(split))}).map(
                encode,
                batched=True,
                input_columns="row",
                remove_columns="row",
                features=features,
                cache_file_name=str(file),
                new_fingerprint=key,
            )
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise KronaError(f"The token cache {file} cannot be used: {error}. If the file exists, remove it.") from error
    return Tokenised(rows=rows.remove_columns("long"), truncated=int(rows.with_format("numpy")["long"][:].sum()))
