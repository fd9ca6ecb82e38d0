"""Tokenised splits, cached in Arrow files that all runs share, and their batches.

The cache is keyed by the split's fingerprint, the tokenizer's and the length. Runs that start together each write into
a folder of their own and rename it; the first wins and the others read its files.
"""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krona.messages import KronaError
from krona.tasks.rows import Split

if TYPE_CHECKING:
    import datasets
    import torch

IGNORED = -100  # torch's cross entropy leaves such labels out
BATCH = 1000
ABANDONED = 3600.0  # seconds after which a half-written folder counts as left by a killed run


@dataclass(frozen=True, kw_only=True)
class Tokenised:
    """rows: `input_ids` and `labels` (lists of int) a row, memory-mapped. truncated: how many sources were cut."""

    rows: "datasets.Dataset"
    truncated: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        row: dict[str, list[int]] = self.rows[index]
        return row


def tokenise(
    split: Split, tokenizer: Any, *, max_source_length: int, cache_dir: Path, tokenizer_fingerprint: str
) -> Tokenised:
    """Token ids of a split, from the cache if they are there. Sources are cut to max_source_length tokens, the end of
    sequence among them; targets are never cut."""
    if max_source_length < 2:
        raise KronaError(f"max_source_length={max_source_length}: at least 2, a piece and the end of sequence")
    key_parts = ["1", split.fingerprint, tokenizer_fingerprint, str(max_source_length)]  # "1": of this format
    key = hashlib.sha256("\n".join(key_parts).encode()).hexdigest()[:24]
    folder = Path(cache_dir) / key
    if not folder.is_dir():
        try:
            _write(split, tokenizer, max_source_length=max_source_length, folder=folder)
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


def _write(split: Split, tokenizer: Any, *, max_source_length: int, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{folder.name}-*"):  # by a run that was killed here
        if time.time() - left.stat().st_mtime > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
    own = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        truncated = _write_arrow(split, tokenizer, max_source_length=max_source_length, file=own / "rows.arrow")
        (own / "counts.json").write_text(json.dumps({"rows": len(split), "truncated": truncated}))
        try:
            own.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was first: the same content
                raise
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _write_arrow(split: Split, tokenizer: Any, *, max_source_length: int, file: Path) -> int:
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    truncated = 0
    label_ids = {text: list(tokenizer(text)["input_ids"]) for text in sorted(set(split.targets))}
    features = Features({"input_ids": List(Value("int32")), "labels": List(Value("int32"))})
    writer = ArrowWriter(path=str(file), features=features)
    try:
        for start in range(0, len(split), BATCH):
            stop = start + BATCH
            # Uncut first: only so can cut sources be counted. verbose=False: no warning about their length.
            ids = tokenizer(split.sources[start:stop], truncation=False, verbose=False)["input_ids"]
            for place, row in enumerate(ids):
                if len(row) > max_source_length:
                    truncated += 1
                    text = split.sources[start + place]
                    ids[place] = tokenizer(text, truncation=True, max_length=max_source_length)["input_ids"]
            labels = [label_ids[text] for text in split.targets[start:stop]]
            writer.write_batch({"input_ids": ids, "labels": labels})
        writer.finalize()
    finally:
        writer.close()
    return truncated


def collate(rows: Sequence[Mapping[str, Sequence[int]]], pad_token_id: int) -> "dict[str, torch.Tensor]":
    """Rows → input_ids and attention_mask (B, longest source), labels (B, longest target) padded with -100.

    Without rows, as one of several devices may be in a last batch, the tensors have none.
    """
    import torch

    def padded(key: str, fill: int) -> torch.Tensor:
        width = max((len(row[key]) for row in rows), default=0)
        padded_rows = [[*row[key], *[fill] * (width - len(row[key]))] for row in rows]
        return torch.tensor(padded_rows, dtype=torch.long).view(len(rows), width)

    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    input_ids = padded("input_ids", pad_token_id)  # (B, S)
    return {
        "input_ids": input_ids,
        "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),  # (B, S)
        "labels": padded("labels", IGNORED),  # (B, T)
    }
