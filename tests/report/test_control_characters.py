"""Test that names and messages in results cannot control a terminal or a spreadsheet."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from krona.report.build import build_report
from krona.sweeps import status
from report.generate import make_result, write_all


@pytest.mark.parametrize("format", ["terminal", "html", "md", "csv", "latex"])
def test_no_name_note_or_error_can_command_a_terminal_or_a_spreadsheet(format: str, tmp_path: Path) -> None:
    evil = "\t=x\x1b]0;owned\x07\r=HYPERLINK(1)\u200b\u200e\u202e\u2028\U000e0041"
    odd = make_result("lora", evil, 0, rows=12, epochs=2, change={"optimizer.weight_decay": evil}, kind="own")
    failed = make_result("krona", "rte", 0, rows=12, status="failed")
    failed.error = odd.notes = evil
    odd.notes = [evil]
    write_all(tmp_path, [make_result("lora", "rte", rows=12, epochs=2), odd, failed])
    (tmp_path / "bad\x1b[2J").mkdir()
    (tmp_path / "bad\x1b[2J" / "result.json").write_text("{")
    shown = build_report(tmp_path, format=format)
    hidden = set("\x1b\x07\r\u200b\u200e\u202e\u2028\U000e0041")
    assert not set(shown) & hidden
    console = Console(file=io.StringIO(), width=200)
    status.show(status.find_runs(None, [], tmp_path), console, outputs=tmp_path)
    said = console.file.getvalue()
    assert "owned" in said
    assert not set(said) & hidden
    if format == "csv":
        assert not any(cell.lstrip().startswith("=") for line in shown.splitlines() for cell in line.split(","))
