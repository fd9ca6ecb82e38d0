"""Find the files of the sample tasks: ten small tasks that are part of the package.

The tasks have the columns and the file layout of GLUE or SuperGLUE, but generated rows. Scores on sample tasks are
therefore not comparable with scores on GLUE or SuperGLUE. The script `scripts/nano/sample_tasks.py` generates the
files.
"""

from pathlib import Path

from krona.messages import KronaError

# Hashes of the rows. A test compares these hashes with the hashes of the generated rows.
FINGERPRINT = "sample-1-315002c8a97a"
SUPERGLUE_FINGERPRINT = "superglue-1-cc151c10c9b4"
FILES = Path(__file__).with_name("sample_tasks")
FOLDERS = {
    "cola": "CoLA", "rte": "RTE", "mrpc": "MRPC", "sst2": "SST-2", "stsb": "STS-B", "mnli": "MNLI", "qnli": "QNLI",
    "qqp": "QQP", "copa": "COPA", "wic": "WiC",
}  # fmt: skip
SUPERGLUE = ("copa", "wic")
SPLITS = {"train": "train", "dev": "dev", "test": "test"}  # maps each split to the name of its file
SUPERGLUE_SPLITS = {"train": "train", "dev": "val", "test": "test"}
MNLI_SPLITS = {"train": "train", "dev": "dev_mismatched", "test": "dev_matched"}


def sample_files(name: str) -> dict[str, Path]:
    """Return the files of a sample task by split (train, dev and test)."""
    if name not in FOLDERS:
        raise KronaError(f"Unknown sample task '{name}'. Choose one of {', '.join(FOLDERS)}.")
    splits, ending = MNLI_SPLITS if name == "mnli" else SPLITS, "tsv"
    if name in SUPERGLUE:
        splits, ending = SUPERGLUE_SPLITS, "jsonl"
    return {split: FILES / FOLDERS[name] / f"{file}.{ending}.gz" for split, file in splits.items()}
