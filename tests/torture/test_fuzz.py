"""Damaged files and command lines: a message or a result, never a stack trace, and an exit code that tells which."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from krona import paths
from krona.cli.doctor import examine
from krona.cli.krona import app
from krona.config import check
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import normalize
from krona.report.build import build_report
from krona.runs.claim import Claim
from krona.runs.folder import RunFolder
from krona.sweeps import status
from krona.tasks import hub
from one_job import config, run, typed
from torture.damage import damaged, damaged_json, tried

RESULTS = 40_000
Try = Callable[[Any], str | None]


def every(strategy: st.SearchStrategy[Any], count: int, found: Any, try_one: Try) -> None:
    """Draw ``count`` examples, the same each time, and enter what each of them does."""

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )  # fmt: skip
    @given(strategy)
    def draw(one: Any) -> None:
        found.add(try_one(one))

    draw()


@pytest.fixture(scope="module")
def done(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("done")
    job, _ = run(
        config("method=krona", *typed(tiny_folder, folder / "glue"), "trainer.max_epochs=1"), folder / "outputs"
    )
    assert (job.state, job.error) == ("done", None)
    return job.folder


@pytest.fixture
def copied(done: Path, outputs: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(done, outputs / done.name))


def test_results(full: bool, copied: Path, outputs: Path, book: Any) -> None:
    """What `krona status`, `report` and `doctor` do with a result.json."""
    file, quiet = copied / "result.json", Console(quiet=True)
    content, seen = json.loads(file.read_text()), [0]

    def read(text: str) -> str | None:
        file.write_text(text, encoding="utf-8", errors="replace")
        seen[0] += 1
        ways: list[Callable[[], Any]] = [lambda: status.show(status.all_runs(outputs), quiet, outputs=outputs)]
        if seen[0] % 10 == 0:
            ways += [lambda: build_report([outputs], format="md"), lambda: examine(RunFolder(copied))]
        return next((f"result.json: {crash}" for way in ways if (crash := tried(way))), None)

    with book("damaged results") as found:
        every(damaged_json(content), RESULTS if full else 40, found, read)


def test_adapters(full: bool, copied: Path, book: Any) -> None:
    """What `krona inspect` and whatever else opens an adapter do with its file."""
    from krona.adapters.commands.inspect import inspect
    from krona.adapters.find import find

    file = copied / "adapter.safetensors"
    content = file.read_bytes()
    size = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:size])
    entry = json.loads(header["__metadata__"]["krona"])

    def with_header(text: str) -> bytes:
        raw = text.encode("utf-8", "replace")
        return len(raw).to_bytes(8, "little") + raw + content[size:]

    def with_entry(text: str) -> bytes:
        return with_header(json.dumps({**header, "__metadata__": {**header["__metadata__"], "krona": text}}))

    def read(raw: bytes) -> str | None:
        file.write_bytes(raw)
        crash = tried(lambda: (find(file), inspect(str(file), backbone=None, outputs=copied.parent)))
        return crash and f"adapter: {crash}"

    drawn = damaged(content) | damaged_json(header).map(with_header) | damaged_json(entry).map(with_entry)
    with book("damaged adapters") as found:
        every(drawn, 4_000 if full else 40, found, read)


def test_checkpoints(full: bool, tiny_folder: Path, done: Path, copied: Path, outputs: Path, book: Any) -> None:
    """What a run's command does with its last.ckpt before it trains: sets it aside, or finds in it what was saved."""
    import torch

    from krona.jobs.job import JobSpec, claimed
    from krona.training.files import WholeCheckpoints
    from krona.training.ranks import Ranks

    values = config("method=krona", *typed(tiny_folder, done.parent.parent / "glue"), "trainer.max_epochs=1")
    spec = JobSpec(config=values, outputs=outputs)
    assert spec.folder == copied
    result, file = copied / "result.json", copied / "last.ckpt"
    result.write_text(result.read_text().replace('"status": "done"', '"status": "interrupted"'))
    saved = {"state_dict": {"A": torch.arange(16.0)}, "epoch": 1, "global_step": 3, "krona": {"best": None}}
    torch.save(saved, file)
    content, aside = file.read_bytes(), copied / "last.ckpt.damaged"

    def claim(raw: bytes) -> None:
        aside.unlink(missing_ok=True)
        file.write_bytes(raw)
        spec.notes.clear()
        with claimed(spec, Ranks()) as held:
            assert isinstance(held, Claim)
            assert file.exists() != aside.exists()
        if aside.exists():
            assert aside.read_bytes() == raw
            assert any("last.ckpt is damaged (" in note for note in spec.notes)
            return
        found = WholeCheckpoints().load_checkpoint(file, weights_only=True)
        assert torch.equal(found["state_dict"].pop("A"), saved["state_dict"]["A"])
        assert found == {**saved, "state_dict": {}}

    def read(raw: bytes) -> str | None:
        crash = tried(lambda: claim(raw))
        return crash and f"last.ckpt: {crash}"

    claim(content)
    assert file.exists()
    with book("damaged checkpoints") as found:
        every(damaged(content), 4_000 if full else 40, found, read)


def test_token_caches(full: bool, tmp_path: Path, book: Any) -> None:
    """Only what a run does to take the cache: rows of a damaged file are not read, which may end the process."""
    from tasks.letters import Letters, tokens

    tokens(tmp_path, Letters())
    (counts,) = tmp_path.rglob("counts.json")
    rows = counts.with_name("rows.arrow")
    whole = {counts: counts.read_bytes(), rows: rows.read_bytes()}

    def read(damage: tuple[Path, bytes]) -> str | None:
        for file, content in whole.items():
            file.unlink(missing_ok=True)  # a new file: the old one may be mapped into memory
            file.write_bytes(content)
        damage[0].unlink()
        damage[0].write_bytes(damage[1])
        crash = tried(lambda: tokens(tmp_path, Letters()))
        counts.parent.mkdir(exist_ok=True)
        return crash and f"{damage[0].name}: {crash}"

    of_counts = damaged_json(json.loads(whole[counts])).map(lambda text: (counts, text.encode("utf-8", "replace")))
    of_rows = st.integers(0, len(whole[rows])).map(lambda end: (rows, whole[rows][:end]))
    with book("damaged token caches") as found:
        every(of_counts | of_rows, 2_000 if full else 30, found, read)


def test_rows_of_a_file(full: bool, tmp_path: Path, book: Any) -> None:
    from krona.tasks.files import Wanted, read_rows

    wanted = Wanted(names={"text": ["text"], "label": ["label"]})

    good = b'text\tlabel\na cat\tglad\n"said ""no"""\tsad\n'
    lines = st.lists(st.text(max_size=12) | st.sampled_from(['"', "\t", "\r\n", "\n", "a\tb", "\x00", "\ufeff"]))

    def read(one: tuple[bytes, str, str | None]) -> str | None:
        file = tmp_path / f"rows.{one[1]}"
        file.write_bytes(one[0])
        crash = tried(lambda: [*read_rows(file, wanted, quoting=one[2])])
        return crash and f"{file.name} {one[0]!r}: {crash}"

    content = damaged(good) | lines.map(lambda parts: good + "".join(parts).encode("utf-8", "surrogatepass"))
    drawn = st.tuples(content, st.sampled_from(["tsv", "csv", "jsonl", "parquet"]), st.sampled_from([None, "csv"]))
    with book("damaged rows") as found:
        every(drawn, 6_000 if full else 80, found, read)


COMMANDS = [
    "status",
    "report",
    "diff",
    "inspect",
    "predict",
    "evaluate",
    "export",
    "merge",
    "shapes",
    "table",
    "doctor",
]
OPTIONS = [
    "--where", "--sweep", "--format", "--out", "--table", "--json", "--text", "--input", "--to", "--rank", "--help",
    "--outputs", "--examples", "--all", "--task", "--split", "--weights", "--dry-run", "--plan", "--nothing",
]  # fmt: skip
WORDS = [
    "krona",
    "rte",
    "0",
    "-1",
    "1",
    "32",
    "method=krona",
    "state=done",
    "=",
    "",
    "../..",
    "html",
    "md",
    "merged",
    "é",
]


def test_command_lines(
    full: bool, copied: Path, outputs: Path, book: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that only read, on one finished run."""
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    monkeypatch.setattr(hub, "unreachable", lambda path="", timeout_s=None: "no network here")
    monkeypatch.chdir(tmp_path)
    words = st.sampled_from([*OPTIONS, *WORDS, copied.name, str(tmp_path / "new.safetensors")]) | st.text(max_size=6)

    def type_it(line: tuple[str, list[str]]) -> str | None:
        command, arguments = line
        arguments = ["--dry-run", *arguments] if command == "table" else arguments
        done = CliRunner().invoke(app, [command, *arguments], catch_exceptions=True)

        def again() -> None:
            if done.exception is not None and not isinstance(done.exception, SystemExit):
                raise done.exception

        crash = tried(again)
        if crash is None and done.exit_code not in (0, 1, 2):
            crash = f"exit code {done.exit_code}"
        return crash and f"krona {command} {arguments}: {crash}"

    with book("command lines") as found:
        every(st.tuples(st.sampled_from(COMMANDS), st.lists(words, max_size=4)), 1_500 if full else 25, found, type_it)


def test_overrides(full: bool, book: Any) -> None:
    """A run's overrides, composed and checked as a run would; nothing is started."""
    keys = [
        "method",
        "task",
        "backbone",
        "factors",
        "optimizer.lr",
        "seed",
        "batch_size",
        "data.path",
        "trainer.devices",
    ]
    word = st.sampled_from(["krona", "rte", "1e-3", "-1", "[[32,24]]", "[", "{a:b}", "${x}", "null", "'", "a,b", ""])
    one = st.tuples(st.sampled_from(["", "", "+", "++", "~"]), st.sampled_from(keys), word | st.text(max_size=5))

    def compose(parts: list[tuple[str, str, str]]) -> str | None:
        typed_words = [f"{sign}{key}={value}" for sign, key, value in parts]

        def composed() -> None:
            with hydra_session():
                check.settings(compose_job(normalize(typed_words)).config)

        crash = tried(composed)
        return crash and f"train.py {typed_words}: {crash}"

    with book("overrides") as found:
        every(st.lists(one, min_size=1, max_size=3), 1_000 if full else 15, found, compose)
