"""Test damaged files and command lines.

They give a message or a result with a matching exit code, and no stack trace.
"""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from krona import paths
from krona.cli.damaged_runs import examine
from krona.cli.krona import app
from krona.config import check
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import normalize
from krona.messages import KronaError
from krona.report.build import build_report, collect
from krona.report.diff.compare import compare
from krona.report.diff.text import render as render_diff
from krona.runs.claim import Claim
from krona.runs.folder import RunFolder
from krona.runs.frame import read_results
from krona.sweeps import status
from krona.tasks import hub
from one_job import config, run, typed
from torture.damage import damaged, damaged_json, find_crash, try_each

RESULTS = 5_000
FORMATS = ("terminal", "md", "html", "csv", "latex", "svg")


@pytest.fixture(scope="module")
def done(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("done")
    values = config("method=krona", *typed(tiny_folder, folder / "glue"), "trainer.max_epochs=1")
    job, _ = run(values, folder / "outputs")
    assert (job.state, job.error) == ("done", None)
    return job.folder


@pytest.fixture
def copied(done: Path, outputs: Path) -> Path:
    return Path(shutil.copytree(done, outputs / done.name))


def test_results(full: bool, copied: Path, outputs: Path, book: Any) -> None:
    """Test all code that reads a result.json. The folder also contains an undamaged result."""
    file, quiet = copied / "result.json", Console(quiet=True)
    content, seen = json.loads(file.read_text()), [0]
    whole = Path(shutil.copytree(copied, outputs / "whole"))
    (whole / "result.json").write_text(json.dumps({**content, "run_id": "whole"}))

    def read_frame() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the output names the damaged result
            assert "whole" in set(read_results(outputs)["run_id"])

    def report() -> None:
        """The report has the values of the undamaged result, or names the file."""
        found = collect(outputs)
        for one in found.runs:
            for split in ("dev", "test"):
                assert one.score(split) in (None, content[split]["score"]), split
        names = {one.result.run_id for one in (*found.runs, *found.unfinished)}
        assert copied.name in names or any(str(file) in problem for problem in found.problems)

    def read(text: str) -> str | None:
        file.write_text(text, encoding="utf-8", errors="replace")
        ways: list[Callable[[], Any]] = [
            lambda: status.show(status.all_runs(outputs), quiet, outputs=outputs), report,
        ]  # fmt: skip
        if seen[0] % 10 == 0:
            shape = FORMATS[seen[0] // 10 % len(FORMATS)]
            ways += [
                lambda: build_report([outputs], format=shape).encode(),
                lambda: build_report([outputs], table="1"),
                lambda: render_diff(compare(outputs, "whole", copied.name), width=None, examples=2),
                lambda: examine(RunFolder(copied)),
                read_frame,
            ]
        seen[0] += 1
        return next((f"result.json: {crash}" for way in ways if (crash := find_crash(way))), None)

    with book("damaged results") as found:
        try_each(damaged_json(content), RESULTS if full else 40, found, read)


def test_adapters(full: bool, copied: Path, book: Any) -> None:
    """Test all code that opens an adapter's file."""
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
        crash = find_crash(lambda: (find(file), inspect(str(file), backbone=None, outputs=copied.parent)))
        crash = crash or ("the run accepts it" if raw != content and not is_refused() else None)
        return crash and f"adapter: {crash}"

    def is_refused() -> bool:
        try:
            find(copied.name, outputs=copied.parent)
        except KronaError:
            return True
        return False

    drawn = damaged(content) | damaged_json(header).map(with_header) | damaged_json(entry).map(with_entry)
    with book("damaged adapters") as found:
        try_each(drawn, 4_000 if full else 40, found, read)


def test_checkpoints(full: bool, tiny_folder: Path, done: Path, copied: Path, outputs: Path, book: Any) -> None:
    """A run's command renames a damaged last.ckpt before it trains, or reads the saved values from it."""
    import torch

    from krona.jobs.job import JobSpec, claimed
    from krona.training.ranks import Ranks
    from krona.training.run_files import WholeCheckpoints

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
        with claimed(spec, Ranks()) as found:
            assert isinstance(found, Claim)
            assert file.exists() != aside.exists()
        if aside.exists():
            assert aside.read_bytes() == raw
            assert any("last.ckpt is damaged (" in note for note in spec.notes)
            return
        read = WholeCheckpoints().load_checkpoint(file, weights_only=True)
        assert torch.equal(read["state_dict"].pop("A"), saved["state_dict"]["A"])
        assert read == {**saved, "state_dict": {}}

    def read(raw: bytes) -> str | None:
        crash = find_crash(lambda: claim(raw))
        return crash and f"last.ckpt: {crash}"

    claim(content)
    assert file.exists()
    with book("damaged checkpoints") as found:
        try_each(damaged(content), 4_000 if full else 40, found, read)


def test_token_caches(full: bool, tmp_path: Path, book: Any) -> None:
    """A run accepts or replaces a damaged cache, and reads the same rows."""
    from tasks.letters import Letters, tokens

    expected = tokens(tmp_path, Letters())
    expected = expected.truncated, [*expected.rows]
    (counts,) = tmp_path.rglob("counts.json")
    rows = counts.with_name("rows.arrow")
    whole = {counts: counts.read_bytes(), rows: rows.read_bytes()}

    def read(damage: tuple[Path, bytes]) -> str | None:
        for file, content in (*whole.items(), damage):
            file.unlink(missing_ok=True)  # a new file, because the old file may be mapped into memory
            file.write_bytes(content)
        crash = find_crash(compare)
        counts.parent.mkdir(exist_ok=True)
        return crash and f"{damage[0].name}: {crash}"

    def compare() -> None:
        found = tokens(tmp_path, Letters())
        assert (found.truncated, [*found.rows]) == expected

    of_counts = damaged_json(json.loads(whole[counts])).map(lambda text: (counts, text.encode("utf-8", "replace")))
    of_rows = damaged(whole[rows]).map(lambda content: (rows, content))
    with book("damaged token caches") as found:
        try_each(of_counts | of_rows, 2_000 if full else 30, found, read)


def test_rows_of_a_file(full: bool, tmp_path: Path, book: Any) -> None:
    from krona.tasks.data_files import Wanted, read_rows

    wanted = Wanted(names={"text": ["text"], "label": ["label"]})
    good = b'text\tlabel\na cat\tglad\n"said ""no"""\tsad\n'
    lines = st.lists(st.text(max_size=12) | st.sampled_from(['"', "\t", "\r\n", "\n", "a\tb", "\x00", "\ufeff"]))

    def read(one: tuple[bytes, str, str | None]) -> str | None:
        file = tmp_path / f"rows.{one[1]}"
        file.write_bytes(one[0])
        crash = find_crash(lambda: [*read_rows(file, wanted, quoting=one[2])])
        return crash and f"{file.name} {one[0]!r}: {crash}"

    content = damaged(good) | lines.map(lambda parts: good + "".join(parts).encode("utf-8", "surrogatepass"))
    drawn = st.tuples(content, st.sampled_from(["tsv", "csv", "jsonl", "parquet"]), st.sampled_from([None, "csv"]))
    with book("damaged rows") as found:
        try_each(drawn, 6_000 if full else 80, found, read)


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
    "krona", "rte", "0", "-1", "1", "32", "method=krona", "state=done", "=", "", "../..", "html", "md", "merged", "é",
]  # fmt: skip


def test_command_lines(
    full: bool, copied: Path, outputs: Path, book: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test commands that only read, on one finished run."""
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    monkeypatch.setattr(hub, "unreachable", lambda path="", timeout_s=None: "no network here")
    monkeypatch.chdir(tmp_path)
    words = st.sampled_from([*OPTIONS, *WORDS, copied.name, str(tmp_path / "new.safetensors")]) | st.text(max_size=6)

    def invoke(line: tuple[str, list[str]]) -> str | None:
        command, arguments = line
        arguments = ["--dry-run", *arguments] if command == "table" else arguments
        result = CliRunner().invoke(app, [command, *arguments], catch_exceptions=True)

        def again() -> None:
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception

        crash = find_crash(again)
        if crash is None and result.exit_code not in (0, 1, 2):
            crash = f"exit code {result.exit_code}"
        return crash and f"krona {command} {arguments}: {crash}"

    drawn = st.tuples(st.sampled_from(COMMANDS), st.lists(words, max_size=4))
    with book("command lines") as found:
        try_each(drawn, 1_500 if full else 25, found, invoke)


def test_overrides(full: bool, book: Any) -> None:
    """Test overrides of a run. They are composed and checked as by a run, but no run is started."""
    keys = [
        "method", "task", "backbone", "factors", "optimizer.lr", "seed", "batch_size", "data.path", "trainer.devices",
    ]  # fmt: skip
    words = ["krona", "rte", "1e-3", "-1", "[[32,24]]", "[", "{a:b}", "${x}", "null", "'", "a,b", ""]
    value = st.sampled_from(words) | st.text(max_size=5)
    override = st.tuples(st.sampled_from(["", "", "+", "++", "~"]), st.sampled_from(keys), value)

    def compose(parts: list[tuple[str, str, str]]) -> str | None:
        overrides = [f"{sign}{key}={value}" for sign, key, value in parts]

        def composed() -> None:
            with hydra_session():
                check.settings(compose_job(normalize(overrides)).config)

        crash = find_crash(composed)
        return crash and f"train.py {overrides}: {crash}"

    with book("overrides") as found:
        try_each(st.lists(override, min_size=1, max_size=3), 1_000 if full else 15, found, compose)
