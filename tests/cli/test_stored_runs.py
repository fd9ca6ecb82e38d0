"""Test `krona list`, `krona show`, `krona pack` and `krona report`."""

from pathlib import Path

import pytest

from krona import paths
from report.generate import make_result, write_all
from runs.made_runs import run
from typed_run import invoke


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path / "outputs")
    run(tmp_path / "outputs", "krona-rte-s0")
    run(tmp_path / "outputs", "krona-rte-s1", status="failed", error="loss is nan")
    return tmp_path / "outputs"


def test_list_has_a_line_for_each_run(outputs: Path) -> None:
    done, failed = make_result("lora"), make_result("krona", status="failed", change={"optimizer.warmup_steps": 0.06})
    write_all(outputs, [done, failed])
    lines = [line.split()[:2] for line in invoke("list").output.splitlines()]
    assert [done.run_id, "done"] in lines
    assert [failed.run_id, "failed"] in lines
    assert failed.run_id not in invoke("list", "--where", "state=done").output


def test_show_has_the_state_the_command_line_and_the_notes_of_a_run(outputs: Path) -> None:
    folder = run(outputs, "lora-rte-s0", status="failed", error="loss is nan", notes=["few rows"])
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text("- method=lora\n- seed=0\n")
    lines = [line.strip() for line in invoke("show", "lora").output.splitlines()]
    assert lines[0].startswith("lora-rte-s0: failed")
    assert lines[1:] == ["overrides: method=lora seed=0", "note: few rows", "loss is nan"]
    text = (folder / "result.json").read_text()
    (folder / "result.json").write_text(text[: len(text) // 2])
    assert f"rm -r {folder}" in invoke("show", "lora").output.splitlines()[-1]


def test_report_accepts_a_sweep_by_name_and_html_as_a_flag(outputs: Path) -> None:
    named, other = (make_result(method, sweep=method) for method in ("lora", "pa"))
    write_all(outputs, [named, other])
    assert invoke("report", "lora").output == invoke("report", "--sweep", "lora").output != invoke("report").output
    assert str(invoke("report", "lora", "--sweep", "pa").exception).endswith("Give only one name.")
    assert invoke("report", "lora", "--html").output == f"{outputs / 'report.html'}\n"
    assert "<html" in (outputs / "report.html").read_text(encoding="utf-8")


def test_a_report_names_the_versions_of_krona_if_they_differ(outputs: Path) -> None:
    results = [make_result(seed=0), make_result(seed=1)]
    results[0].provenance |= {"versions": {"krona": "0.1.0"}}
    results[1].provenance |= {"versions": {"krona": "0.2.0"}}
    write_all(outputs, results)
    output = " ".join(invoke("report", "table1").output.split())
    assert "The runs differ in krona (0.1.0 or 0.2.0)." in output


def test_a_pack_leaves_out_a_result_of_another_program(outputs: Path, tmp_path: Path) -> None:
    (outputs / "mine").mkdir()
    (outputs / "mine" / "result.json").write_text('{"accuracy": 0.5}')
    done = invoke("pack", str(tmp_path / "runs.tar.xz"))
    assert (done.exception, "1 run," in done.output) == (None, True)
    assert "left out, because krona did not write result.json: mine" in done.output


def test_no_command_advises_to_remove_the_folder_of_another_program(outputs: Path) -> None:
    (outputs / "mine").mkdir()
    (outputs / "mine" / "result.json").write_text("{}")
    assert "mine: " in invoke("list").output
    for command in ("list", "show mine"):
        lines = invoke(*command.split()).output.splitlines()
        assert not [line for line in lines if "mine" in line and "rm -r" in line]
    assert f"rm -r {outputs / 'krona-rte-s0'} {outputs / 'krona-rte-s1'}\n" in invoke("list").output
