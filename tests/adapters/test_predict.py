"""Test `krona predict`: order of the rows, file formats, several runs, interruption and resumption, complete files."""

import csv
import errno
import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from krona import paths
from krona.adapters.commands import answer_file, predict
from krona.adapters.commands.predict import StoppedError
from krona.adapters.load import Prediction, Trained, load
from krona.cli.krona import app
from krona.messages import KronaError
from tasks import glue_files, own_task

SENTENCES = [text for (text,) in own_task.load(glue_files.task("sample_sst2"), kind="sample").test.texts[:40]]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "PART", 8)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.tsv"
    path.write_text("".join(f"{text}\n" for text in ["sentence", *SENTENCES]))
    return path


def ask(*runs: Path, output: Path | None = None, source: Path | str | None = None, texts: Any = (), **more: Any) -> str:
    """Run `krona predict` and return its text on the terminal."""
    said = io.StringIO()
    options: dict[str, Any] = {"backbone": None, "batch_size": 16, "overwrite": False}
    predict.predict(
        [str(run) for run in runs], source=None if source is None else str(source), texts=list(texts), output=output,
        console=Console(file=said, width=200, force_terminal=True), **(options | more),
    )  # fmt: skip
    return said.getvalue()


def interrupt_after(monkeypatch: pytest.MonkeyPatch, count: int) -> list[int]:
    """Interrupt the prediction with Ctrl-C after ``count`` parts.

    Return a list that gets the sizes of the predicted parts.
    """
    real, sizes = Trained.predict_texts, list[int]()

    def counted(self: Trained, split: Any, **more: Any) -> list[Prediction]:
        if len(sizes) == count:
            raise KeyboardInterrupt
        sizes.append(len(split))
        return real(self, split, **more)

    monkeypatch.setattr(Trained, "predict_texts", counted)
    return sizes


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl"])
def test_all_rows_in_order_in_every_form(ending: str, rows: Path, sst2: Path, tmp_path: Path) -> None:
    output = tmp_path / f"answers.{ending}"
    ask(sst2, source=rows, output=output)
    expected = load(sst2).predict(SENTENCES)
    if ending == "jsonl":
        found = [json.loads(line) for line in output.read_text().splitlines()]
        assert list(found[0]) == ["sentence", "prediction", "word", "probabilities"]
        assert [row["word"] for row in found] == [one.word for one in expected]
        shares = [row["probabilities"] for row in found]
    else:
        with output.open(newline="") as file:
            found = list(csv.DictReader(file, delimiter={"tsv": "\t", "csv": ","}[ending]))
        assert list(found[0]) == ["sentence", "prediction", "word", "p(negative)", "p(positive)"]
        assert [row["word"] for row in found] == [one.word or "" for one in expected]
        shares = [{word: float(row[f"p({word})"]) for word in ("negative", "positive")} for row in found]
    assert [row["sentence"] for row in found] == SENTENCES
    assert [row["prediction"] for row in found] == [one.answer for one in expected]
    assert len({one.answer for one in expected}) > 2  # otherwise the order would not be tested
    assert shares == [pytest.approx(dict(one.probabilities), abs=1e-5) for one in expected]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([rows.name, output.name])


def test_several_runs_side_by_side(rte: Path, tmp_path: Path, outputs: Path, sst2: Path) -> None:
    output = tmp_path / "a.jsonl"
    copied = tmp_path / rte.name
    shutil.copytree(rte, copied)
    pair = {"sentence1": "It rains.", "sentence2": "It is wet."}
    with pytest.raises(
        KronaError, match=rf"{rte.name} reads 'sentence1' and 'sentence2', but {sst2.name} reads 'sentence'"
    ):
        ask(rte, sst2, texts=["a", "b"])
    from adapters.conftest import SAMPLE, finished

    mrpc = finished(outputs, *SAMPLE, "method=untuned", "task=sample_mrpc")
    ask(rte, mrpc, texts=pair.values(), output=output)
    (row,) = [json.loads(line) for line in output.read_text().splitlines()]
    assert row.keys() == {*pair, rte.name, mrpc.name}
    for run in (rte, mrpc):
        (alone,) = load(run).predict([pair])
        assert row[run.name]["prediction"] == alone.answer
        assert row[run.name]["probabilities"] == pytest.approx(dict(alone.probabilities))
    ask(rte, mrpc, texts=pair.values(), output=tmp_path / "a.tsv")
    header = (tmp_path / "a.tsv").read_text().splitlines()[0].split("\t")
    assert header[2:4] == [f"{rte.name}: prediction", f"{rte.name}: word"]
    assert f"{mrpc.name}: p(equivalent)" in header


def test_typed_texts_are_a_table_on_a_terminal(rte: Path) -> None:
    said = ask(rte, texts=["It rains.", "It is wet.", "He sleeps.", "He is awake."])
    assert said.index("It rains.") < said.index("He sleeps.")
    assert "p(not_entailment)" in said
    with pytest.raises(KronaError, match=r"--text has 3 texts, but each row of task sample_rte"):
        ask(rte, texts=["a", "b", "c"])
    with pytest.raises(KronaError, match="--input FILE"):
        ask(rte)
    with pytest.raises(KronaError, match="--input FILE"):
        ask(rte, source="x.tsv", texts=["a", "b"])


@pytest.mark.parametrize(("done", "ending"), [(0, "tsv"), (3, "tsv"), (3, "csv"), (3, "jsonl")])
def test_an_interrupted_file_is_resumed_to_the_same_bytes(
    done: int, ending: str, rows: Path, sst2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(sst2, source=rows, output=tmp_path / f"whole.{ending}")
    output = tmp_path / f"a.{ending}"
    with monkeypatch.context() as patched:
        interrupt_after(patched, done)
        with pytest.raises(StoppedError, match=rf"a.{ending}.partial contains {8 * done} rows. Run the same command"):
            ask(sst2, source=rows, output=output)
    assert not output.exists()
    partial = tmp_path / f"a.{ending}.partial"
    with partial.open("ab") as file:
        file.write(b"half a li")  # killed in the middle of a part
    with monkeypatch.context() as patched:
        sizes = interrupt_after(patched, 99)
        ask(sst2, source=rows, output=output)
    assert sum(sizes) == len(SENTENCES) - 8 * done
    assert output.read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([rows.name, output.name, f"whole.{ending}"])


def test_a_partial_file_of_other_options_is_not_resumed(
    rows: Path, sst2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "a.tsv"

    def interrupted() -> None:
        with monkeypatch.context() as patched:
            interrupt_after(patched, 2)
            with pytest.raises(StoppedError):
                ask(sst2, source=rows, output=output, overwrite=True)

    interrupted()
    before = (tmp_path / "a.tsv.partial").read_bytes()
    text = rows.read_text()
    rows.write_text(text + "One more.\n")
    with pytest.raises(KronaError, match=r"a.tsv.partial belongs to other runs, rows or options.*--overwrite"):
        ask(sst2, source=rows, output=output)
    with pytest.raises(KronaError, match="belongs to other runs"):
        ask(sst2, source=rows, output=output, batch_size=4)
    assert (tmp_path / "a.tsv.partial").read_bytes() == before
    (tmp_path / "a.tsv.partial.state").write_text("[" * 100_000)
    with pytest.raises(KronaError, match=r"a.tsv.partial.state is damaged.*--overwrite"):
        ask(sst2, source=rows, output=output)
    ask(sst2, source=rows, output=output, overwrite=True)
    assert len(output.read_text().splitlines()) == len(SENTENCES) + 2


def test_standard_input_is_not_resumed(sst2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    output, content = tmp_path / "a.tsv", "".join(f"{text}\n" for text in ["sentence", *SENTENCES]).encode()
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        interrupt_after(patched, 2)
        with pytest.raises(StoppedError, match=r"contains 16 rows. Standard input cannot be read again.*--overwrite"):
            ask(sst2, source="-", output=output)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    with pytest.raises(KronaError, match="belongs to other runs, rows or options"):
        ask(sst2, source="-", output=output)


def test_refused_outputs(rows: Path, sst2: Path, tmp_path: Path) -> None:
    there = tmp_path / "a.tsv"
    there.write_text("mine")
    with pytest.raises(KronaError, match=r"a.tsv exists. Use --overwrite"):
        ask(sst2, source=rows, output=there)
    assert there.read_text() == "mine"
    ask(sst2, source=rows, output=there, overwrite=True)
    assert len(there.read_text().splitlines()) == len(SENTENCES) + 1
    with pytest.raises(KronaError, match=r"--output .*a.xlsx has an unknown ending: there are .tsv, .csv, .jsonl"):
        ask(sst2, source=rows, output=tmp_path / "a.xlsx")
    with pytest.raises(KronaError, match=r"the folder .* was not found"):
        ask(sst2, source=rows, output=tmp_path / "none" / "a.tsv")
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(KronaError, match=r"folder.tsv is a folder"):
        ask(sst2, source=rows, output=tmp_path / "folder.tsv", overwrite=True)
    rows_none = tmp_path / "none.tsv"
    rows_none.write_text("sentence\n")
    with pytest.raises(KronaError, match="has no rows"):
        ask(sst2, source=str(rows_none), output=None)


class FullDisk(io.FileIO):
    """A file on a disk with space for ``room`` bytes."""

    room = 1500

    def write(self, content: Any) -> int:
        if self.tell() + len(content) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(content)


def test_a_full_disk_is_one_message_and_resumed_when_there_is_room(
    rows: Path, sst2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(sst2, source=rows, output=tmp_path / "whole.tsv")
    output, opened = tmp_path / "a.tsv", Path.open
    with monkeypatch.context() as patched:
        full = lambda path, mode="r", *a, **k: (  # noqa: E731
            FullDisk(path, mode) if path.name.endswith(".partial") else opened(path, mode, *a, **k)
        )
        patched.setattr(Path, "open", full)
        with pytest.raises(KronaError, match=r"a.tsv.partial could not be written: No space left on device"):
            ask(sst2, source=rows, output=output)
    assert not output.exists()
    assert json.loads((tmp_path / "a.tsv.partial.state").read_text())["rows"] in range(8, 40, 8)
    ask(sst2, source=rows, output=output)
    assert output.read_bytes() == (tmp_path / "whole.tsv").read_bytes()


def test_a_wrong_row_in_the_middle_names_its_place(rows: Path, sst2: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"sentence": text}) + "\n" for text in SENTENCES[:20]) + '{"sentence": null}\n')
    with pytest.raises(KronaError, match=r"rows.jsonl:21: the column 'sentence' is empty"):
        ask(sst2, source=path, output=tmp_path / "a.tsv")
    assert not (tmp_path / "a.tsv").exists()


class Stub:
    """A model that predicts "0" for every row without any computation."""

    def __init__(self, task: Any) -> None:
        self.task = task

    make_split = Trained.make_split
    origin: Any = type("Origin", (), {"task_prefix": False, "run_id": "stub", "task": {}})()

    def predict_texts(self, split: Any, *, batch_size: int) -> list[Prediction]:
        return [Prediction("0", "negative", {"negative": 1.0, "positive": 0.0})] * len(split)


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8,000 rows of 200 characters are 1.6 MB as text, and several times that as objects.

    Only a few parts of 1,024 rows may be in memory at the same time.
    """
    monkeypatch.setattr(predict, "PART", 1024)
    task = glue_files.task("sst2")
    source = tmp_path / "rows.tsv"
    origin = type("Origin", (), {"task_settings": task, "run_id": "stub"})()
    found = type("Found", (), {"origin": origin, "adapter": None})()
    monkeypatch.setattr(predict, "find", lambda run: found)
    monkeypatch.setattr(predict, "load", lambda one, backbone: Stub(task))

    def lines(count: int) -> Iterator[str]:
        yield "sentence\n"
        yield from (f"{number:>199}\n" for number in range(count))

    def peak(count: int) -> int:
        with source.open("w") as file:
            file.writelines(lines(count))
        gc.collect()
        tracemalloc.start()
        ask(tmp_path, source=source, output=tmp_path / "a.jsonl", overwrite=True)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (tmp_path / "a.jsonl").read_bytes().count(b"\n") == count
        return most

    few, many = peak(2_000), peak(8_000)
    assert many < 1.2 * few
    assert many < 3e6


@pytest.mark.slow
def test_ctrl_c_on_the_real_command(sst2: Path, tmp_path: Path) -> None:
    """The exit code is 130 with one line of output.

    Then the same command finishes the file, which equals that of an uninterrupted command.
    """
    source = tmp_path / "rows.tsv"
    source.write_text("".join(f"{text}\n" for text in ["sentence", *(SENTENCES * 100)]))  # several parts
    command = [sys.executable, "-m", "krona", "predict", str(sst2), "--input", str(source), "--output"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def typed(output: Path) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([*command, str(output)], env=environment, stdout=pipe, stderr=pipe, text=True)

    output, state = tmp_path / "a.csv", tmp_path / "a.csv.partial.state"
    process = typed(output)
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, ""), err
    (line,) = err.splitlines()
    assert line.startswith(f"Interrupted. {output}.partial contains ")
    assert not output.exists()
    done = json.loads(state.read_text())["rows"]
    again = typed(output)
    out, err = again.communicate(timeout=200)
    assert (again.returncode, out) == (0, "")
    assert f"resumes after {done:,} rows" in err
    whole = load(sst2).predict(SENTENCES)
    with output.open(newline="") as file:
        found = [row["prediction"] for row in csv.DictReader(file)]
    assert found == [one.answer for one in whole] * 100
    assert not state.exists()


def test_the_command_with_texts(rte: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "OUTPUTS", rte.parent)
    texts = ["--text", "It rains.", "It is wet.", "--batch-size", "2"]
    done = CliRunner().invoke(app, ["predict", rte.name, *texts])
    assert done.exit_code == 0, done.output
    header, row = done.stdout.splitlines()
    assert header == "sentence1\tsentence2\tprediction\tword\tp(entailment)\tp(not_entailment)"
    assert row.startswith("It rains.\tIt is wet.\t")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_standard_output_without_room_is_one_message(sst2: Path, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = r"^Standard output could not be written: No space left on device\.$"
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(KronaError, match=message):
            ask(sst2, source=rows)


def test_cells_with_tabs_and_line_ends_stay_one_line() -> None:
    answer = {"sentence": "one\ttwo\nthree", "prediction": "0", "word": None, "probabilities": {"a": 0.25}}
    assert answer_file.format_answers([answer], ".tsv", header=False) == "one two three\t0\t\t0.250000\n"
    (row,) = csv.reader(io.StringIO(answer_file.format_answers([answer], ".csv", header=False)))
    assert row == ["one\ttwo\nthree", "0", "", "0.250000"]
