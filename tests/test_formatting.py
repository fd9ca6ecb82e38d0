"""Test tables on terminals of any width and in a pipe, suggestions, and escaped texts."""

import io

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console
from rich.text import Text

from krona.formatting import error_lines, override_text, say, table
from krona.messages import KronaError, did_you_mean

HEADINGS = ("run", "state", "progress", "dev")
ROWS = [
    ["krona-sample_rte-nano-32x24-s0-1f3a5c7e9b", Text("done", style="green"), "", "71.01"],
    ["lora-sample_rte-nano-s0-0123456789", "running", "epoch 2 of 5", "9.30"],
]


def lines(width: int | None) -> list[str]:
    return table(HEADINGS, ROWS, width=width, left=("run", "state", "progress")).plain.splitlines()


@pytest.mark.parametrize("width", [20, 60])
def test_a_record_a_row_where_it_does_not(width: int) -> None:
    shown = lines(width)
    assert [row[0] for row in ROWS] == [line for line in shown if not line.startswith(" ")]
    assert max(len(line) for line in shown if line.startswith(" ")) <= max(width, len("  progress epoch 2 of 5"))
    assert "progress epoch 2 of 5" in "\n".join(shown)
    assert "progress" not in "\n".join(shown[: shown.index(ROWS[1][0])])  # columns without a value are left out


EVIL = "a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc\rd\u202ee\x9b31m"


def test_no_text_can_command_a_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=True, color_system=None)
    say(console, f"run {EVIL}")
    say(console, Text(f"run {EVIL}", style="red"))
    say(console, table(("run", "state"), [[EVIL, Text(EVIL, style="green")]], width=200))
    shown = out.getvalue() + error_lines(EVIL) + str(KronaError(EVIL))
    assert shown.count("]52;c;ZXZpbA==") == 6
    assert not set(shown) & set("\x1b\x07\r\u202e\x9b")
    assert r"a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc\rd\u202ee\x9b31m" in shown


@pytest.mark.parametrize("wrong", ["selfattention", "SELFATENTION", "SelfAtention"])
def test_a_suggestion_is_the_real_name(wrong: str) -> None:
    assert did_you_mean(wrong, ["DenseReluDense", "SelfAttention"]).startswith("did you mean 'SelfAttention'?")


@pytest.mark.parametrize(
    "text",
    ["/tmp/a-b", "", "a b", "a,b", "it's", "a\\'b", "x=[1]", "#1", "~/g", "x\\y z"],
)
def test_hydra_reads_a_text_as_it_was(text: str) -> None:
    assert OverridesParser.create().parse_override(f"key={override_text(text)}").value() == text
