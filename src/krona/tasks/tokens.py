"""Compute the token ids of splits, and cache them in Arrow files that all runs share.

The key of the cache is a hash of the encoding's key, the fingerprints of the texts that the backbone reads and of the
tokenizer, and the maximum length. Each run writes to a temporary folder and then moves the files. Several runs may do
this at the same time, because they write the same files.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from krona.messages import KronaError
from krona.safe_files import read_json, sha256
from krona.tasks.rows import Split

if TYPE_CHECKING:
    import datasets

BATCH = 1000


class Encoding(Protocol):
    """An object that turns texts into token ids. The families of `krona.backbones.families` implement it."""

    key: str  # names the format of the tokenised rows; it is part of the cache's key
    label_type: str  # int32 or float32

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]: ...

    def texts(self, split: Split) -> list[str]: ...

    def label(self, target: str) -> list[Any]: ...


@dataclass(frozen=True, kw_only=True)
class Tokenised:
    """A tokenised split."""

    rows: "datasets.Dataset"  # memory-mapped, with the lists of numbers `input_ids` and `labels` for each row
    truncated: int  # source texts that were truncated to the maximum length
    mended: str | None = None  # a message about a damaged cache that was written again

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        row: dict[str, list[int]] = self.rows[index]
        return row


def tokenise(
    split: Split, encoding: Encoding, *, max_source_length: int, cache_dir: Path, tokenizer_fingerprint: str
) -> Tokenised:
    """Return the token ids of a split. Read them from the cache, or compute them if the cache does not contain them.

    Source texts have at most ``max_source_length`` tokens, including the end of sequence. Targets are never truncated.
    """
    import datasets

    texts = replace(split, sources=encoding.texts(split))  # an encoder reads the columns, not the source text
    key_parts = [encoding.key, texts.fingerprint, tokenizer_fingerprint, str(max_source_length)]
    key = hashlib.sha256("\n".join(key_parts).encode()).hexdigest()[:24]
    folder = Path(cache_dir) / key
    try:
        new = not (folder / "counts.json").exists()
        damage = None if new else _find_damage(folder, rows=len(split))
        if new or damage:
            _write(split, encoding, max_source_length=max_source_length, folder=folder)
        mended = f"The token cache {folder} was damaged ({damage}). It was written again." if damage else None
        rows = datasets.Dataset.from_file(str(folder / "rows.arrow"))
        return Tokenised(rows=rows, truncated=read_json(folder / "counts.json")["truncated"], mended=mended)
    except OSError as error:
        raise KronaError(f"The token cache {folder} cannot be written: {error.strerror or error}.") from error


def _find_damage(folder: Path, *, rows: int) -> str | None:
    import datasets

    try:
        counts = read_json(folder / "counts.json")
        if counts["rows"] != rows or not isinstance(counts["truncated"], int):
            return f"counts.json has {counts['rows']} rows and the split has {rows}"
        whole = sha256(folder / "rows.arrow")
        if counts["sha256"] not in (whole, _checksum(whole, counts["truncated"])):  # the first in older caches
            return "rows.arrow or counts.json has changed"
        found = len(datasets.Dataset.from_file(str(folder / "rows.arrow")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None if found == rows else f"rows.arrow has {found} rows and the split has {rows}"


def _write(split: Split, encoding: Encoding, *, max_source_length: int, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        rows, counts = Path(name, "rows.arrow"), Path(name, "counts.json")
        truncated = _write_arrow(split, encoding, max_source_length=max_source_length, file=rows)
        checksum = _checksum(sha256(rows), truncated)
        counts.write_text(json.dumps({"rows": len(split), "truncated": truncated, "sha256": checksum}))
        folder.mkdir(exist_ok=True)
        for file in (rows, counts):  # the counts last: without them, the cache is not complete
            os.replace(file, folder / file.name)


def _checksum(rows: str, truncated: int) -> str:
    return hashlib.sha256(f"{rows} {truncated}".encode()).hexdigest()


def _write_arrow(split: Split, encoding: Encoding, *, max_source_length: int, file: Path) -> int:
    """Write the tokenised rows, and return the number of truncated source texts."""
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    truncated = 0
    labels = {text: encoding.label(text) for text in sorted(set(split.targets))}
    columns = encoding.sources(split, [0], longest=None)
    features = Features(
        {**{name: List(Value("int32")) for name in columns}, "labels": List(Value(encoding.label_type))}
    )
    writer = ArrowWriter(path=str(file), features=features)
    try:
        for start in range(0, len(split), BATCH):
            rows = range(start, min(start + BATCH, len(split)))
            batch = encoding.sources(split, rows, longest=None)  # not cut yet, so that long texts can be counted
            for place, ids in enumerate(batch["input_ids"]):
                if len(ids) > max_source_length:
                    truncated += 1
                    cut = encoding.sources(split, [start + place], longest=max_source_length)
                    for name, values in cut.items():
                        batch[name][place] = values[0]
            writer.write_batch({**batch, "labels": [labels[split.targets[row]] for row in rows]})
        writer.finalize()
    finally:
        writer.close()
    return truncated
