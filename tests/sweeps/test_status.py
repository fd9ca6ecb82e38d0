"""Test `krona status`: filters, output in a pipe, and advice for failed runs."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from krona.cli.krona import app
from krona.messages import KronaError
from krona.runs.sweep import save_command
from krona.sweeps import status
from krona.sweeps.planned import Planned
from report.generate import make_result, write_all


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    results = [make_result("krona", "rte", 0), make_result("krona", "cola", 1)]
    results += [make_result("lora", "rte", 0, status=state) for state in ("failed",)]
    results += [make_result("pa", "rte", 0, status="interrupted")]
    write_all(tmp_path, results)
    return tmp_path


def said(outputs: Path, *where: str, width: int | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=width is not None, color_system=None)
    status.show(status.filter_runs(status.all_runs(outputs), where), console, outputs=outputs)
    return out.getvalue()


def test_a_pipe_gets_one_line_per_run_with_the_whole_id(outputs: Path) -> None:
    lines = said(outputs).splitlines()
    for path in outputs.glob("*/result.json"):
        assert sum(line.startswith(f"{path.parent.name} ") for line in lines) == 1
    (line,) = [line for line in lines if "interrupted" in line and line.startswith("pa")]
    assert "epoch 2 of 6" in line  # as the report names it


def test_a_failed_run_says_how_to_repeat_and_how_to_remove_it(outputs: Path) -> None:
    (failed,) = [path.name for path in outputs.iterdir() if path.name.startswith("lora")]
    text = said(outputs, "state=failed")
    assert f"{failed}: loss is nan at step 12: lower optimizer.lr" in text
    assert "retry=failed" in text
    assert f"krona rm {failed}" in text
    assert "rm -r" not in said(outputs, "state=done")


def test_an_unreadable_result_is_a_row_and_one_line(outputs: Path) -> None:
    (outputs / "broken").mkdir()
    (outputs / "broken" / "result.json").write_text("{")
    lines = said(outputs, "state=failed").splitlines()
    assert sum("is not a result" in line for line in lines) == 1
    assert any(line.split()[:2] == ["broken", "failed"] for line in lines)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("task=rtee", "--where task=rtee matches no run: did you mean 'rte'? (there are: cola, rte)"),
        ("state=wrong", "--where state=wrong matches no run: there are done, failed, interrupted"),
        ("taks=rte", "--where taks=rte is not KEY=VALUE with a known key: did you mean 'task'?"),
        ("rte", "--where rte is not KEY=VALUE"),
    ],
)
def test_a_filter_without_a_match_suggests_the_most_similar_value(outputs: Path, where: str, words: str) -> None:
    with pytest.raises(KronaError) as caught:
        status.filter_runs(status.all_runs(outputs), [where])
    assert str(caught.value).startswith(words)


def test_filters_accept_several_values_and_apply_to_waiting_runs(outputs: Path) -> None:
    runs = [*status.all_runs(outputs), Planned(("method=lora", "task=mrpc"), "lora-mrpc", "waiting")]
    assert len(status.filter_runs(runs, ["method=lora,pa"])) == 3
    assert [run.run_id for run in status.filter_runs(runs, ["task=mrpc"])] == ["lora-mrpc"]
    assert len(status.filter_runs(runs, ["run=krona-"])) == 2


def test_a_sweep_by_name_or_by_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.paths.OUTPUTS", tmp_path)
    save_command(tmp_path / "sweeps", "mine", ["profile=demo", "seed=0,1"])
    for words in (["mine"], ["--sweep", "mine"]):
        result = CliRunner().invoke(app, ["status", *words], catch_exceptions=False)
        assert (result.exit_code, "2 runs: 2 waiting" in result.output) == (0, True)
    with pytest.raises(KronaError, match="did you mean 'mine'"):
        CliRunner().invoke(app, ["status", "--sweep", "mime"], catch_exceptions=False)
    with pytest.raises(KronaError, match="are two different sweeps"):
        CliRunner().invoke(app, ["status", "mine", "--sweep", "other"], catch_exceptions=False)
