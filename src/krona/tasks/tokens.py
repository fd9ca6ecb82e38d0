"""Tokenised splits, cached in Arrow files that all runs share.

The cache is keyed by the split's fingerprint, the tokenizer's and the length. Runs that start together each write into
a folder of their own and rename it; the first wins and the others read its files.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from krona.files import remove_below, sha256
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
    """rows: `input_ids` and `labels` (lists of numbers) a row, memory-mapped. truncated: how many sources were cut.

    mended: what was wrong with the cache, where it had to be made again.
    """

    rows: "datasets.Dataset"
    truncated: int
    mended: str | None = None

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
    _sweep(folder.parent)
    mended = None
    try:
        if folder.is_dir() and (damage := _damage(folder, rows=len(split))) is not None:
            aside = folder.with_name(f"{key}.damaged")
            remove_below(folder.parents[2], aside)  # of an earlier time
            folder.rename(aside)
            mended = f"the token cache {folder} was damaged ({damage}): set aside as {aside.name} and made again"
        if not folder.is_dir():
            _write(split, encoding, max_source_length=max_source_length, folder=folder)
    except OSError as error:
        raise KronaError(f"the token cache {folder} cannot be written: {error.strerror or error}") from error
    if mended is not None and (damage := _damage(folder, rows=len(split))) is not None:
        raise KronaError(f"{mended}, and is damaged again ({damage}): is the disk sound?")
    return _read(folder, mended)


def _damage(folder: Path, *, rows: int) -> str | None:
    """What is wrong with a cached split, in words; None: it is whole."""
    import datasets

    try:
        counts = json.loads((folder / "counts.json").read_text())
        if counts["rows"] != rows or not isinstance(counts["truncated"], int):
            return f"{counts['rows']} rows in counts.json, {rows} in the split"
        if "sha256" in counts and sha256(folder / "rows.arrow") != counts["sha256"]:  # earlier versions had none
            return "rows.arrow is not what was written"
        found = len(datasets.Dataset.from_file(str(folder / "rows.arrow")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None if found == rows else f"{found} rows on disk, {rows} in the split"


def _read(folder: Path, mended: str | None) -> Tokenised:
    import datasets

    truncated = json.loads((folder / "counts.json").read_text())["truncated"]
    return Tokenised(rows=datasets.Dataset.from_file(str(folder / "rows.arrow")), truncated=truncated, mended=mended)


def _sweep(cache: Path) -> None:
    """Remove what runs that were killed here left half-written."""
    for left in cache.glob(f".{'[0-9a-f]' * 24}-*"):
        with suppress(OSError):  # another process sweeps too
            if time.time() - max(path.lstat().st_mtime for path in (left, *left.iterdir())) > ABANDONED:
                remove_below(cache.parents[1], left)  # neither the cache nor the folder above it may be a link


def _write(split: Split, encoding: Encoding, *, max_source_length: int, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        truncated = _write_arrow(split, encoding, max_source_length=max_source_length, file=own / "rows.arrow")
        counts = {"rows": len(split), "truncated": truncated, "sha256": sha256(own / "rows.arrow")}
        (own / "counts.json").write_text(json.dumps(counts))
        try:
            own.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was first: the same content
                raise
    finally:
        remove_below(folder.parent, own)


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
