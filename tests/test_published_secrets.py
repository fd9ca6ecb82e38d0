"""Test that marked secrets, a marked row and a marked folder do not reach the files of runs, packs and HTML pages."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from krona.report.build import build_report
from krona.runs.frame import read_results
from krona.runs.pack import pack
from typed_run import PROJECT

CODE = """
from pytorch_lightning import Callback
from pytorch_lightning.loggers import CSVLogger


class Tracker(CSVLogger):
    def __init__(self, save_dir, api_key, **others):
        super().__init__(save_dir)
        self.api_key = api_key

    def log_metrics(self, metrics, step=None):
        raise RuntimeError(f"no access with {self.api_key}")


class Hook(Callback):
    def __init__(self, token, fails=False, **others):
        self.token, self.fails = token, fails

    def on_train_start(self, trainer, module):
        if self.fails:
            raise RuntimeError(f"the token {self.token} is wrong")
"""
TASK = """
name: mine
columns: [text]
labels: [bad, good]
label_column: grade
metrics: [accuracy]
files: {train: marked-folder/rows.tsv}
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # seconds; five processes

NAMES = ("override", "environment", "url", "header", "callback", "logger", "study")
MARKS = {name: f"s3cret{number}{name}" for number, name in enumerate(NAMES)}
RUN = ["profile=demo", "task=mine", "trainer.max_epochs=1", "trainer.threads=1", "optimizer.warmup_steps=0"]


def services(marks: Mapping[str, str]) -> list[str]:
    """Return overrides with secrets, as a user types them."""
    return [
        "logger=[wandb,tensorboard]",
        "+logger.mine._target_=mine.Tracker",
        f"+logger.mine.api_key={marks['override']}",
        "+logger.mine.server=${oc.env:MARKED}",
        f"+logger.mine.address='https://me:{marks['url']}@host.example/runs'",
        f"+logger.mine.headers={{Authorization: Bearer {marks['header']}}}",
        f"+logger.mine.target='https://{marks['logger']}@hooks.example/services'",
        "+callbacks.hook._target_=mine.Hook",
        f"+callbacks.hook.token={marks['callback']}",
        f"+callbacks.hook.account={{access_key: {marks['study']}}}",
        "+callbacks.hook.team=${oc.env:MARKED}",
    ]


def start(folder: Path, *words: str, marks: Mapping[str, str] = MARKS, code: int = 0) -> str:
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "KRONA_OUTPUTS": str(folder / "outputs"), "WANDB_MODE": "offline",
        "MARKED": marks["environment"],
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with finished and failed runs, a sweep, a resumed study, a pack and a page."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "mine.py").write_text(CODE)
    (folder / "conf" / "task").mkdir(parents=True)
    (folder / "conf" / "task" / "mine.yaml").write_text(TASK.replace("marked-folder", f"{folder}/marked-folder"))
    (folder / "marked-folder").mkdir()
    rows = [f"text number {n}\t{('bad', 'good')[n % 2]}" for n in range(40)]
    (folder / "marked-folder" / "rows.tsv").write_text("\n".join(["text\tgrade", *rows, "one\tmarked-row"]) + "\n")
    train, tune = str(PROJECT / "train.py"), ["-P", "-m", "krona", "tune"]
    skip = "data.skip_bad_rows=true"
    start(folder, train, "-m", *RUN, skip, "sweep=mine", "seed=0,1", *services(MARKS))
    start(folder, train, *RUN, "method=lora", skip, "+callbacks.hook.fails=true", *services(MARKS), code=1)
    search = [*RUN, skip, "method=bitfit", "--study=search", "optimizer.weight_decay=0.1"]
    start(folder, *tune, *search, "--trials=1", *services(MARKS))
    others = {name: f"an0ther{mark}" for name, mark in MARKS.items()}
    printed = start(folder, *tune, *search, "--trials=2", *services(others), marks=others)
    assert "trial 1" in printed, "a study resumes with other secrets"
    pack(folder / "outputs", folder / "runs.tar.xz")
    build_report(folder / "outputs", format="html", out=folder / "runs.html")
    return folder


def files_with(folder: Path, *texts: str) -> list[tuple[str, str]]:
    contents = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert contents
    return [(str(path), text) for path, content in contents.items() for text in texts if text.encode() in content]


def test_no_file_of_a_run_contains_a_secret(folder: Path) -> None:
    outputs = folder / "outputs"
    table = read_results(outputs)
    assert [*table.status].count("done") == 4
    assert [*table.status].count("failed") == 1
    assert any("the token *** is wrong" in str(error) for error in table.error)
    for name in ("*.wandb", "search.journal", "hydra.yaml", "events.out*", "train.log", "mine.json"):
        assert [*outputs.rglob(name)], name
    assert not files_with(outputs, *MARKS.values())
    configs = [json.loads(path.read_text())["config"] for path in outputs.glob("*/result.json")]
    assert all(config["callbacks"]["hook"]["team"] == "${oc.env:MARKED}" for config in configs)


def test_a_pack_and_a_page_contain_neither_secrets_nor_rows_nor_folders(folder: Path) -> None:
    with tarfile.open(folder / "runs.tar.xz") as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (folder / "page").mkdir()
    (folder / "runs.html").rename(folder / "page" / "runs.html")
    private = [*MARKS.values(), "marked-folder", "marked-row", str(folder), os.uname().nodename, str(PROJECT)]
    assert not files_with(folder / "unpacked", *private)
    assert not files_with(folder / "page", *private)
