"""Write files in GLUE's eight layouts, with invented sentences, and read the tasks of conf/."""

import gzip
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from krona.tasks import Task
from krona.tasks.data_sources import SAMPLE_FILES
from krona.tasks.data_sources import SAMPLE_FOLDERS as FOLDERS

CONF = Path(__file__).parents[2] / "conf" / "task"
HEADERS = {
    "cola": "",
    "rte": "index sentence1 sentence2 label",
    "mrpc": "Quality|#1 ID|#2 ID|#1 String|#2 String",
    "sst2": "sentence label",
    "stsb": "index genre filename year old_index source1 source2 sentence1 sentence2 score",
    "mnli": "index promptID pairID genre sentence1_parse sentence2_parse sentence1 sentence2 label1 gold_label",
    "qnli": "index question sentence label",
    "qqp": "id qid1 qid2 question1 question2 is_duplicate",
}
WORDS = {
    "rte": ("entailment", "not_entailment"),
    "qnli": ("entailment", "not_entailment"),
    "mnli": ("entailment", "neutral", "contradiction"),
}


def config(name: str) -> dict[str, Any]:
    """Return a YAML file of conf/task as plain values, merged with its defaults."""
    values: Any = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    for parent in values.pop("defaults", []):
        if parent != "_self_":
            values = config(parent) | values
    return dict(values)


def task(name: str, **changes: Any) -> Task:
    return Task.from_config(config(name) | changes)


def label(name: str, i: int) -> str:
    """Return the label of row i, as it is written in GLUE's files."""
    if name == "stsb":
        return f"{(i * 7) % 51 / 10:.3f}"
    return WORDS[name][i % len(WORDS[name])] if name in WORDS else str(i % 2)


def line(name: str, i: int) -> str:
    first, second, mark = f'The cat no. {i} said "hello.', f"A cat 's ünder {i}.", label(name, i)
    fields = {
        "cola": ["me01", mark, "" if i % 2 else "*", first],
        "rte": [str(i), first, second, mark],
        "mrpc": [mark, "11", "12", first, second],
        "sst2": [f"{first} ", mark],
        "stsb": [str(i), "news", "f", "2012", "3", "none", "none", first, second, mark],
        "mnli": [str(i), "1p", "1", "fiction", "( a )", "( b )", first, second, mark, mark],
        "qnli": [str(i), first, second, mark],
        "qqp": [str(i), "1", "2", first, second, mark],
    }
    return "\t".join(fields[name])


def text(name: str, rows: int, *, start: int = 0) -> str:
    header = HEADERS[name]
    names = header.split("|") if "|" in header else header.split()
    lines = (["\t".join(names)] if names else []) + [line(name, start + i) for i in range(rows)]
    return "\n".join(lines) + "\n"


def write(folder: Path, name: str, *, train: int = 12, dev: int = 7, end: str = "\n", head: str = "") -> Path:
    """Write FOLDER/RTE/train.tsv and the other files of a task, with line ends and a beginning. Return its folder."""
    inner = folder / FOLDERS[name]
    inner.mkdir(parents=True, exist_ok=True)
    devs = ("dev_matched", "dev_mismatched") if name == "mnli" else ("dev",)
    for i, (file, rows) in enumerate([("train", train), *((file, dev) for file in devs)]):
        content = head + text(name, rows, start=1000 * i)
        (inner / f"{file}.tsv").write_bytes(content.replace("\n", end).encode())
    return inner


def unpack_samples(folder: Path) -> None:
    """Write the files of the sample tasks to a folder as in the downloads of GLUE and SuperGLUE."""
    for packed in SAMPLE_FILES.glob("*/*.gz"):
        path = folder / packed.parent.name / packed.stem
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.decompress(packed.read_bytes()))
