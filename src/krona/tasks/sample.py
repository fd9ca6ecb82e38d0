"""The sample tasks: eight small tasks with GLUE's columns, in GLUE's layout, shipped with the package.

`scripts/nano/sample_tasks.py` generates the files. Scores on them are not GLUE scores.
"""

import gzip
from pathlib import Path

from krona.messages import KronaError

FINGERPRINT = "sample-1-315002c8a97a"  # of the rows; a test compares it with the generator's
FILES = Path(__file__).with_name("sample_tasks")
FOLDERS = {
    "cola": "CoLA", "rte": "RTE", "mrpc": "MRPC", "sst2": "SST-2", "stsb": "STS-B", "mnli": "MNLI", "qnli": "QNLI",
    "qqp": "QQP",
}  # fmt: skip
SPLITS = {"train": "train", "dev": "dev", "test": "test"}  # split → file
MNLI_SPLITS = {"train": "train", "dev": "dev_mismatched", "test": "dev_matched"}


def sample_files(name: str) -> dict[str, Path]:
    """Return the files of a sample task by split: train, dev and test. Raises KronaError for an unknown task."""
    if name not in FOLDERS:
        raise KronaError(f"Unknown sample task '{name}'. Choose one of {', '.join(FOLDERS)}.")
    splits = MNLI_SPLITS if name == "mnli" else SPLITS
    return {split: FILES / FOLDERS[name] / f"{file}.tsv.gz" for split, file in splits.items()}


def write(folder: Path) -> list[Path]:
    """Write all files to ``folder``, uncompressed and in the layout of GLUE's download. Return their paths.

    MNLI's dev_matched.tsv is the sample task's test split and dev_mismatched.tsv its dev split, as in GLUE's protocol.
    """
    written = []
    for task in FOLDERS.values():
        for packed in sorted((FILES / task).glob("*.tsv.gz")):
            path = folder / task / packed.stem
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.decompress(packed.read_bytes()))
            written.append(path)
    return written
