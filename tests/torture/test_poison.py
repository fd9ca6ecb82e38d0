"""An outputs folder that somebody else made: every command reads it, nothing in it runs, nothing beside it changes."""

import json
import os
import pickle
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf
from safetensors import safe_open
from safetensors.numpy import save_file
from typer.testing import CliRunner

from krona import paths
from krona.adapters.commands.export_folder import exported_folder
from krona.cli.doctor import remove_left_overs
from krona.cli.krona import app
from krona.jobs.job import _prepare
from krona.messages import KronaError
from krona.runs import index
from krona.runs.folder import RunFolder
from krona.runs.index import summaries
from krona.sweeps.ledger import Ledger
from krona.tasks import hub, tokens
from one_job import config, run, typed
from runs.made_runs import aged, claimed, dead_pid, tree
from runs.made_runs import run as made_run
from torture.damage import tried

LIMIT_S = 60


class Fire:
    """Pickled, it makes a file where it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


class LateError(BaseException):
    """No exception that a reader of files takes for a file's fault."""


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise LateError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def poisoned(tiny_folder: Path, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Runs by what is wrong with them. ``mine``: a folder outside that links lead to; ``fired``: made by what ran."""
    mine, fired = tmp_path / "mine", tmp_path / "fired"
    job, _ = run(config("method=lora", *typed(tiny_folder, tmp_path / "glue"), "trainer.max_epochs=1"), outputs)
    assert job.state == "done", job.error
    content = json.loads((job.folder / "result.json").read_text())
    (tmp_path / "krona_poison.py").write_text(
        f"import os\nos.makedirs({str(fired)!r}, exist_ok=True)\nBranch = object\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    monkeypatch.setattr(hub, "unreachable", lambda path="", timeout_s=None: "no network here")

    def copy(name: str) -> Path:
        folder = Path(shutil.copytree(job.folder, outputs / name))
        (folder / "result.json").write_text(json.dumps({**content, "run_id": name}))
        return folder

    made = {name: copy(name) for name in ("target", "adapter", "pickled", "index", "linked-files")}
    changed = {**content, "run_id": "target"}
    changed["config"] = json.loads(json.dumps(changed["config"]))
    changed["config"]["method"]["_target_"] = "krona_poison.Branch"
    (made["target"] / "result.json").write_text(json.dumps(changed))
    with safe_open(made["adapter"] / "adapter.safetensors", framework="numpy") as file:
        tensors, notes = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    entry = {**json.loads(notes["krona"]), "branch": "krona_poison.Branch"}
    save_file(tensors, made["adapter"] / "adapter.safetensors", metadata={**notes, "krona": json.dumps(entry)})
    for name in ("adapter.safetensors", "last.ckpt", "predictions.jsonl"):
        (made["pickled"] / name).write_bytes(pickle.dumps(Fire(fired)))
    (outputs / index.FILE).parent.mkdir(exist_ok=True)
    (outputs / index.FILE).write_bytes(pickle.dumps(Fire(fired)))

    shutil.copytree(job.folder, mine / "run")
    aged(mine / "run" / ".result.json.x1")
    claimed(mine / "run", dead_pid())
    (mine / "canary").write_text("mine")
    (outputs / "linked").symlink_to(mine / "run")
    for name in ("predictions.jsonl", "metrics.csv"):
        (made["linked-files"] / name).unlink()
        (made["linked-files"] / name).symlink_to(mine / "canary")
    (outputs / "loop").symlink_to(outputs / "loop")
    for name, link in (("endless", "result.json"), ("gone", "nowhere")):
        (outputs / name).mkdir()
        (outputs / name / "result.json").symlink_to(link)
    (outputs / "folder" / "result.json").mkdir(parents=True)
    (outputs / "sweeps").mkdir(exist_ok=True)
    (outputs / "sweeps" / "mine.json").write_text(json.dumps({"sweep": "mine", "overrides": ["hydra.run.dir=../mine"]}))
    return {**made, "whole": job.folder, "outputs": outputs, "mine": mine, "fired": fired}


def commands(made: dict[str, Path], out: Path) -> list[list[str]]:
    """Every command that reads outputs/, on each of the runs that it may be given."""
    runs = [made[name].name for name in ("whole", "target", "adapter", "pickled")] + [
        "linked",
        "gone",
        "folder",
        "loop",
    ]
    whole = [["status"], ["status", "mine"], ["report", "--format", "md"], ["doctor"], ["doctor", "--fix"]]
    whole += [
        ["report", "--format", "html", "--out", str(out / "report.html")],
        ["dashboard", "--folder", str(out / "d")],
    ]
    each = [
        [["inspect", run], ["diff", run, made["whole"].name], ["predict", run, "--text", "a cat", "a dog"],
         ["export", run, "--to", "adapter", "--out", str(out / f"export-{run}")]]
        for run in runs
    ]  # fmt: skip
    return [*whole, *(command for of_run in each for command in of_run)]


SMALL = ("status", "doctor", "inspect")


def test_every_command_on_a_poisoned_folder(full: bool, poisoned: dict[str, Path], tmp_path: Path, book: Any) -> None:
    before = tree(poisoned["mine"])
    with book("poisoned outputs") as found:
        for words in commands(poisoned, tmp_path / "out"):
            if not full and words[0] not in SMALL:
                continue
            crash = _typed(words)
            if tree(poisoned["mine"]) != before:
                crash = "what links lead to was changed"
            if poisoned["fired"].exists():
                poisoned["fired"].rmdir()
                crash = "it ran what the folder holds"
            found.add(crash and f"krona {' '.join(words)}: {crash}")


LINKS = ("sweeps", ".index", ".cache", ".cache/tokens", "run", "run/.hydra")  # in outputs/, each leads to a home
HOME = (
    "thesis.tex", ".x.json.old", ".eslintrc.json.old", "a.json", f".{'a' * 24}-x/file", f"tokens/.{'a' * 24}-x/file",
    "jobs-12345678/file", "last.ckpt", ".now.x", ".takeover.x", ".own-x/file", "config.yaml", ".result.json.x",
)  # fmt: skip


def cleanings(outputs: Path) -> dict[str, Any]:
    """Everything that removes files below outputs/."""

    def clear() -> None:
        spec: Any = SimpleNamespace(run=RunFolder(outputs / "run"), notes=[])
        spec.settings = SimpleNamespace(overwrite=True)
        if (held := spec.run.claim()) is not None:
            try:
                _prepare(spec, held)
            finally:
                held.release()

    def ledger() -> None:
        config = OmegaConf.create({"hydra": {"overrides": {"task": []}, "launcher": {}, "sweeper": {"_target_": "x"}}})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("krona.sweeps.ledger.outputs_of", lambda *_, **__: outputs)
            patch.setenv("KRONA_LEDGER", "")
            Ledger().on_multirun_start(OmegaConf.merge(config, {"sweep": None}))

    return {
        "doctor --fix": lambda: remove_left_overs(outputs),
        "index": lambda: summaries(outputs),
        "tokens": lambda: tokens._sweep(outputs / ".cache" / "tokens"),
        "a run that begins anew": clear,
        "a run that is done": lambda: RunFolder(outputs / "run").clean(done=True),
        "a multirun": ledger,
    }


def test_nothing_behind_a_link_is_removed(full: bool, tmp_path: Path, book: Any) -> None:
    with book("links in outputs") as found:
        for link in LINKS:
            for name in cleanings(tmp_path):
                place = tmp_path / f"{link.replace('/', '-')}-{name}"
                home, outputs = place / "home", place / "outputs"
                for file in HOME:
                    aged(home / file, seconds=40 * 86400)
                for folder in (path for path in home.iterdir() if path.is_dir()):
                    aged(folder, seconds=40 * 86400)
                (outputs / link).parent.mkdir(parents=True)
                (outputs / link).symlink_to(home)
                before = tree(home)
                crash = tried(cleanings(outputs)[name])
                lost = before.keys() - tree(home).keys()
                found.add(f"{name}, {link}: {crash or sorted(lost)}" if crash or lost else None)


def test_no_folder_is_replaced_but_an_export(
    full: bool, outputs: Path, tmp_path: Path, book: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    whole = (made_run(outputs), outputs, tmp_path / "mine", tmp_path / "link", tmp_path, Path(), Path.home(), Path("/"))
    before = tree(tmp_path)
    with book("folders to replace") as found:
        for out in whole:
            try:
                with exported_folder(out, overwrite=True) as part:
                    (part / "adapter.safetensors").write_text("new")
                found.add(f"{out}: replaced")
            except KronaError:
                found.add(None if tree(tmp_path) == before else f"{out}: changed")


def test_a_checkpoint_that_is_a_program_is_not_run(tiny_folder: Path, tmp_path: Path) -> None:
    values = config("method=lora", *typed(tiny_folder, tmp_path / "glue"), "trainer.max_epochs=1")
    job, _ = run(values, tmp_path / "outputs")
    result = job.folder / "result.json"
    result.write_text(result.read_text().replace('"status": "done"', '"status": "interrupted"'))
    (job.folder / "last.ckpt").write_bytes(pickle.dumps(Fire(tmp_path / "fired")))
    run(values, tmp_path / "outputs")
    assert not (tmp_path / "fired").exists()


def test_a_pipe_in_the_place_of_a_result(tmp_path: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening it would wait for ever."""
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    (outputs / "pipe").mkdir()
    os.mkfifo(outputs / "pipe" / "result.json")
    crashes = [_typed(words, seconds=5) for words in (["doctor"], ["status"], ["report"], ["inspect", "pipe"])]
    assert crashes == [None] * 4


def _typed(words: list[str], seconds: int = LIMIT_S) -> str | None:
    """The crash of a command, if it has one."""

    def type_it() -> None:
        with within(seconds):
            done = CliRunner().invoke(app, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception

    try:
        return tried(type_it)
    except LateError:
        return f"it still reads after {seconds} s"
