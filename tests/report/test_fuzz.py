"""Test results from untrusted sources: predictions that unpack to gigabytes, and control characters in names."""

import io
import json
import zlib
from base64 import b64encode
from pathlib import Path

import pytest
from rich.console import Console

from krona.report.build import build_report
from krona.sweeps import status
from report.generate import make_result, write_all

GOOD, BAD = (make_result("lora", "rte", seed, rows=12, epochs=2) for seed in (0, 1))
BOMB = b64encode(zlib.compress(b"0\n" * 40_000_000)).decode()


@pytest.mark.parametrize("part", ["targets", "predictions"])
def test_answers_that_unpack_to_gigabytes_are_refused_before_they_do(part: str, tmp_path: Path) -> None:
    import tracemalloc

    write_all(tmp_path, [GOOD])
    file = tmp_path / BAD.run_id / "result.json"
    file.parent.mkdir()
    content = json.loads(json.dumps(BAD.__dict__))
    content["test"]["outcomes"][part] = BOMB
    file.write_text(json.dumps(content))
    tracemalloc.start()
    try:
        shown = build_report(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 120e6
    finally:
        tracemalloc.stop()
    assert "the outcomes have more than 32 MiB after unpacking" in shown


@pytest.mark.parametrize("format", ["terminal", "html", "md", "csv", "latex", "svg"])
def test_no_name_note_or_error_can_command_a_terminal_or_a_spreadsheet(format: str, tmp_path: Path) -> None:
    evil = "\t=x\x1b]0;owned\x07\r=HYPERLINK(1)\u200b\u200e\u202e\u2028\U000e0041"
    odd = make_result("lora", evil, 0, rows=12, epochs=2, change={"optimizer.weight_decay": evil}, kind="own")
    failed = make_result("krona", "rte", 0, rows=12, status="failed")
    failed.error = odd.notes = evil  # type: ignore[assignment]
    odd.notes = [evil]
    write_all(tmp_path, [GOOD, odd, failed])
    (tmp_path / "bad\x1b[2J").mkdir()
    (tmp_path / "bad\x1b[2J" / "result.json").write_text("{")
    shown = build_report(tmp_path, format=format)
    hidden = set("\x1b\x07\r\u200b\u200e\u202e\u2028\U000e0041")
    assert not set(shown) & hidden
    console = Console(file=io.StringIO(), width=200)
    status.show(status.find_runs(None, [], tmp_path), console, outputs=tmp_path)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "owned" in said
    assert not set(said) & hidden
    if format == "csv":
        assert not any(cell.lstrip().startswith("=") for line in shown.splitlines() for cell in line.split(","))
