"""Test that damaged files and command lines give a clear message or a result, and no stack trace."""

import csv
import io
import json
import shutil
import warnings
from collections.abc import Iterable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pyarrow
import pytest
from hypothesis import strategies as st
from pyarrow import parquet
from rich.console import Console

from krona.messages import KronaError
from krona.report.build import build_report, collect
from krona.runs.frame import read_results
from krona.runs.result import read_result, write_result
from krona.sweeps import status
from krona.tasks.files import DataFile, FileColumns
from torture.conftest import Losses
from torture.damage import damaged, damaged_json, judge, try_each

View = tuple[dict[str, Any], Iterable[Any]]  # what a command shows of each run, and its error messages
RESULTS = 3_000
FORMATS = ("terminal", "html", "csv", "latex")


@pytest.fixture
def copied(done: Path, outputs: Path) -> Path:
    return Path(shutil.copytree(done, outputs / done.name))


def test_results(full: bool, copied: Path, outputs: Path, losses: Losses) -> None:
    """Test a result.json with damaged bytes, such as after a crash of the machine."""
    file, seen = copied / "result.json", count()
    content, raw = json.loads(file.read_text()), file.read_bytes()
    whole = Path(shutil.copytree(copied, outputs / "whole"))
    write_result(whole, read_result(file).model_copy(update={"run_id": "whole"}))

    def report() -> View:
        found = collect(outputs)
        for split in ("dev", "test"):
            assert {run.scores[split] for run in found.runs if split in run.scores} <= {content[split]["score"]}
        return {run.run_id: run.result for run in (*found.runs, *found.unfinished)}, found.problems

    def show_status() -> View:
        runs = status.all_runs(outputs)
        status.show(runs, Console(quiet=True), outputs=outputs)
        return {run.run_id: run.result for run in runs if run.result}, [run.error for run in runs if not run.result]

    def read_table() -> View:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rows = read_results(outputs).itertuples(index=False)
        return {row.run_id: repr(row) for row in rows}, [one.message for one in caught]

    def text(form: str, table: str | None = None) -> View:
        found, problems = build_report([outputs], format=form, table=table), collect(outputs).problems
        unwrapped = "".join(found.split())
        assert not problems or copied.name in unwrapped or "couldnotbeused" in unwrapped
        return {"text": found}, problems

    views = {"report": report, "status": show_status, "read_results": read_table}
    views |= {form: partial(text, form) for form in FORMATS} | {"table 1": partial(text, "latex", "1")}
    expected = {name: view()[0] for name, view in views.items()}

    def see(name: str) -> dict[str, Any]:
        runs, problems = views[name]()
        assert runs.get("whole") == expected[name].get("whole")
        if problems:
            assert copied.name not in runs
            raise KronaError("\n".join(map(str, problems)))
        return runs

    def read(damage: bytes) -> str | None:
        file.write_bytes(damage)
        for name in ("report", [*views][next(seen) % len(views)]):
            loss = judge(partial(see, name), ANY, str(file))
            if loss:
                return f"{name}: {loss}"
        return None

    try_each(damaged(raw), RESULTS if full else 15, losses, read)


def test_adapters(full: bool, copied: Path, tmp_path: Path, losses: Losses) -> None:
    """Test all code that opens an adapter's file: in a run, which has its checksum, and alone."""
    from krona.adapters.adapter_file import Adapter
    from krona.adapters.find import find

    file, alone = copied / "adapter.safetensors", tmp_path / "alone.safetensors"
    content = file.read_bytes()
    size = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:size])
    entry = json.loads(header["__metadata__"]["krona"])

    def in_run() -> Any:
        return Adapter.load(str(find(copied).adapter)).config

    expected = in_run()

    def with_header(text: str) -> bytes:
        raw = text.encode("utf-8", "replace")
        return len(raw).to_bytes(8, "little") + raw + content[size:]

    def with_entry(text: str) -> bytes:
        return with_header(json.dumps({**header, "__metadata__": {**header["__metadata__"], "krona": text}}))

    def read(raw: bytes) -> str | None:
        file.write_bytes(raw)
        alone.write_bytes(raw)
        loss = judge(in_run, expected if raw == content else "none", str(file))
        return loss or judge(partial(Adapter.load, str(alone)), ANY, str(alone))

    drawn = damaged(content) | damaged_json(header).map(with_header) | damaged_json(entry).map(with_entry)
    try_each(drawn, 2_000 if full else 15, losses, read)


def test_checkpoints(full: bool, tmp_path: Path, losses: Losses) -> None:
    """A run recognises that its last.ckpt is damaged, or reads the saved values from it."""
    import torch

    from krona.training.run_job import find_damage
    from krona.training.trainer import AtomicCheckpoints

    file = tmp_path / "last.ckpt"
    saved = {"state_dict": {"A": torch.arange(16.0)}, "epoch": 1, "global_step": 3, "krona": {"best": None}}
    torch.save(saved, file)
    content = file.read_bytes()

    def load() -> Any:
        if damage := find_damage(file):
            raise KronaError(damage)
        read = AtomicCheckpoints().load_checkpoint(file, weights_only=True)
        return {**read, "state_dict": {name: tensor.tolist() for name, tensor in read["state_dict"].items()}}

    expected = load()

    def read(raw: bytes) -> str | None:
        file.write_bytes(raw)
        return judge(load, expected)

    try_each(damaged(content), 1_500 if full else 15, losses, read)


Row = dict[str, Any] | None  # the columns of a row; None for a row that must be refused


def read_plainly(file: Path, delimiter: str, *, quoted: bool) -> list[Row]:
    """Return the rows of a file, read with the standard library or pyarrow."""
    if file.suffix == ".parquet":
        table = parquet.read_table(file)
        table.validate(full=True)
        return [*table.select(["text", "label"]).to_pylist()]
    text = file.read_bytes().decode().removeprefix("\ufeff")
    lines = text.split("\n")
    if file.suffix == ".jsonl":
        return [as_row(line) for line in lines if line.strip()]
    if quoted:
        header, *rows = filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    else:
        header, *rows = (line.removesuffix("\r").split("\t") for line in lines if line not in ("", "\r"))
    places = {name: header.index(name) for name in ("text", "label")}
    return [{name: row[at] for name, at in places.items()} if len(row) == len(header) else None for row in rows]


def as_row(line: str) -> Row:
    try:
        found = json.loads(line)
        return {name: found[name] for name in ("text", "label")}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def test_rows_of_a_file(full: bool, tmp_path: Path, losses: Losses) -> None:
    """krona reads the same rows as a simple reader. It refuses other rows, and files that it cannot read, by name."""
    columns = FileColumns(names={"text": ["text"], "label": ["label"]})
    good = {
        "tsv": b'text\tlabel\na cat\tglad\n"said ""no"""\tsad\n',
        "csv": b'text,label\na cat,glad\n"said ""no"",\nand left",sad\n',
        "jsonl": b'{"text": "a cat", "label": "glad"}\n{"label": 1, "text": "a \\u00e9"}\n',
    }
    table = pyarrow.table({"text": ["a cat", "said no"], "label": ["glad", "sad"]})
    parquet.write_table(table, tmp_path / "good", compression="none", use_dictionary=False)
    good["parquet"] = (tmp_path / "good").read_bytes()
    signs = ['"', "\t", ",", "\r\n", "\r", "\n", "a\tb", "a,b", "\x00", "\ufeff"]
    parts = st.text(max_size=12) | st.sampled_from(signs)
    ends = st.lists(parts).map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass"))

    def read(one: tuple[str, bytes, bool]) -> str | None:
        kind, content, quoted = one
        file = tmp_path / f"rows.{kind}"
        file.unlink(missing_ok=True)  # a new file, because the old file may be mapped into memory
        file.write_bytes(content)

        def rows() -> list[Row]:
            found = DataFile(file, columns, quoting="csv" if quoted else None)
            return [None if isinstance(row, Exception) else row for _, row in found]

        try:
            expected = read_plainly(file, "," if kind == "csv" else "\t", quoted=quoted or kind == "csv")
        except Exception:  # the readers raise many types of errors
            expected = []
        return judge(rows, expected, str(file))

    def damage(kind: str) -> st.SearchStrategy[Any]:
        drawn = damaged(good[kind]) | ends.map(lambda end: good[kind] + end)
        return st.tuples(st.just(kind), drawn, st.booleans())

    try_each(st.sampled_from([*good]).flatmap(damage), 6_000 if full else 40, losses, read)
