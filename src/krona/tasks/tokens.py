"""Compute the token ids of splits, and cache them in Arrow files that all runs share.

The key of the cache is a hash of the encoding's key, the fingerprints of the split and of the tokenizer, and the
maximum length. Each run writes to a temporary folder and then renames the folder. If several runs do this at the same
time, the first rename succeeds, and the other runs read the files of the first run.
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

from krona.messages import KronaError
from krona.safe_files import read_json, remove_below, sha256
from krona.tasks.rows import Split

if TYPE_CHECKING:
    import datasets

BATCH = 1000
ATTEMPTS = 10  # if several runs find the same damage, each may move a folder that another run wrote
ABANDONED = 3600.0  # seconds; an older temporary folder was left behind by a killed run


class Encoding(Protocol):
    """An object that turns texts into token ids. The families of `krona.backbones.families` implement it."""

    key: str  # names the format of the tokenised rows; it is part of the cache's key
    label_type: str  # int32 or float32

    def sources(self, split: Split, rows: Sequence[int], *, longest: int | None) -> dict[str, list[list[int]]]: ...

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
    key_parts = [encoding.key, split.fingerprint, tokenizer_fingerprint, str(max_source_length)]
    key = hashlib.sha256("\n".join(key_parts).encode()).hexdigest()[:24]
    folder = Path(cache_dir) / key
    _remove_abandoned(folder.parent)
    for _ in range(ATTEMPTS):
        try:
            return _read_or_write(split, encoding, max_source_length=max_source_length, folder=folder)
        except FileNotFoundError as error:  # another run found the same damage, and moved the folder meanwhile
            missing = error
        except OSError as error:
            raise KronaError(f"The token cache {folder} cannot be written: {error.strerror or error}.") from error
    raise KronaError(f"The token cache {folder} cannot be written: {missing.strerror}.") from missing


def _read_or_write(split: Split, encoding: Encoding, *, max_source_length: int, folder: Path) -> Tokenised:
    mended = None
    if folder.is_dir() and (damage := _find_damage(folder, rows=len(split))) is not None:
        aside = folder.with_name(f"{folder.name}.damaged")
        remove_below(folder.parents[2], aside)  # a cache that was damaged earlier
        folder.rename(aside)
        mended = f"The token cache {folder} was damaged ({damage}). It was moved to {aside.name} and written again."
    if not folder.is_dir():
        _write(split, encoding, max_source_length=max_source_length, folder=folder)
    if mended is not None and (damage := _find_damage(folder, rows=len(split))) is not None and folder.is_dir():
        raise KronaError(f"{mended} It is damaged again ({damage}). Check the disk.")
    return _read(folder, mended)


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


def _read(folder: Path, mended: str | None) -> Tokenised:
    import datasets

    truncated = read_json(folder / "counts.json")["truncated"]
    return Tokenised(rows=datasets.Dataset.from_file(str(folder / "rows.arrow")), truncated=truncated, mended=mended)


def _remove_abandoned(cache: Path) -> None:
    for folder in cache.glob(f".{'[0-9a-f]' * 24}-*"):
        with suppress(OSError):  # another process may remove it too
            if time.time() - max(path.lstat().st_mtime for path in (folder, *folder.iterdir())) > ABANDONED:
                remove_below(cache.parents[1], folder)  # neither the cache nor the folder above it may be a link


def _write(split: Split, encoding: Encoding, *, max_source_length: int, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        truncated = _write_arrow(split, encoding, max_source_length=max_source_length, file=own / "rows.arrow")
        checksum = _checksum(sha256(own / "rows.arrow"), truncated)
        counts = {"rows": len(split), "truncated": truncated, "sha256": checksum}
        (own / "counts.json").write_text(json.dumps(counts))
        try:
            own.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another run has already written the same content
                raise
    finally:
        remove_below(folder.parent, own)


def _checksum(rows: str, truncated: int) -> str:
    """Return the checksum of a cache from that of its rows and the number of truncated texts."""
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
