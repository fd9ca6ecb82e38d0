"""Tokenised splits, cached in Arrow files that all runs share.

The cache is keyed by the split's fingerprint, the tokenizer's and the length. Runs that start together each write into
a folder of their own and rename it; the first wins and the others read its files.
"""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from krona.messages import KronaError
from krona.tasks.rows import Split

if TYPE_CHECKING:
    import datasets

BATCH = 1000
ABANDONED = 3600.0  # seconds after which a half-written folder counts as left by a killed run


class Encoding(Protocol):
    """What makes numbers of texts: a family of backbones with its tokenizer (`krona.backbones.families`)."""

    key: str  # names the form of the rows: part of the cache's key
    label_type: str  # int32 or float32

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]:
        """`input_ids` and the model's other inputs of some rows, cut to ``longest`` tokens if that is given."""

    def label(self, target: str) -> list[Any]:
        """The numbers that a target is learned as."""


@dataclass(frozen=True, kw_only=True)
class Tokenised:
    """rows: `input_ids` and `labels` (lists of numbers) a row, memory-mapped. truncated: how many sources were cut."""

    rows: "datasets.Dataset"
    truncated: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        row: dict[str, list[int]] = self.rows[index]
        return row


def tokenise(
    split: Split, encoding: Encoding, *, max_source_length: int, cache_dir: Path, tokenizer_fingerprint: str
) -> Tokenised:
    """Token ids of a split, from the cache if they are there. Sources are cut to max_source_length tokens, the end of
    sequence among them; targets are never cut."""
    if max_source_length < 2:
        raise KronaError(f"max_source_length={max_source_length}: at least 2, a piece and the end of sequence")
    key_parts = [encoding.key, split.fingerprint, tokenizer_fingerprint, str(max_source_length)]
    key = hashlib.sha256("\n".join(key_parts).encode()).hexdigest()[:24]
    folder = Path(cache_dir) / key
    if not folder.is_dir():
        try:
            _write(split, encoding, max_source_length=max_source_length, folder=folder)
        except OSError as error:
            raise KronaError(f"the token cache {folder} cannot be written: {error.strerror or error}") from error
    return _read(folder, rows=len(split))


def _read(folder: Path, *, rows: int) -> Tokenised:
    import datasets

    try:
        counts = json.loads((folder / "counts.json").read_text())
        data = datasets.Dataset.from_file(str(folder / "rows.arrow"))
        whole = len(data) == rows == counts["rows"]
    except (OSError, ValueError, KeyError) as error:
        raise KronaError(f"the token cache {folder} is damaged ({error}): delete that folder") from error
    if not whole:
        raise KronaError(
            f"the token cache {folder} cannot be trusted: {len(data)} rows on disk, {counts['rows']} in counts.json, "
            f"{rows} in the split: delete that folder"
        )
    return Tokenised(rows=data, truncated=counts["truncated"])


def _write(split: Split, encoding: Encoding, *, max_source_length: int, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{folder.name}-*"):  # by a run that was killed here
        if time.time() - left.stat().st_mtime > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
    own = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        truncated = _write_arrow(split, encoding, max_source_length=max_source_length, file=own / "rows.arrow")
        (own / "counts.json").write_text(json.dumps({"rows": len(split), "truncated": truncated}))
        try:
            own.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was first: the same content
                raise
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _write_arrow(split: Split, encoding: Encoding, *, max_source_length: int, file: Path) -> int:
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    truncated = 0
    label_ids = {text: encoding.label(text) for text in sorted(set(split.targets))}
    columns = encoding.sources(split, [0], longest=None)
    features = Features(
        {**{name: List(Value("int32")) for name in columns}, "labels": List(Value(encoding.label_type))}
    )
    writer = ArrowWriter(path=str(file), features=features)
    try:
        for start in range(0, len(split), BATCH):
            rows = range(start, min(start + BATCH, len(split)))
            batch = encoding.sources(split, rows, longest=None)  # uncut first: only so can cut sources be counted
            for place, ids in enumerate(batch["input_ids"]):
                if len(ids) > max_source_length:
                    truncated += 1
                    cut = encoding.sources(split, [start + place], longest=max_source_length)
                    for name, values in cut.items():
                        batch[name][place] = values[0]
            writer.write_batch({**batch, "labels": [label_ids[split.targets[row]] for row in rows]})
        writer.finalize()
    finally:
        writer.close()
    return truncated
