"""Test `krona list`, `krona show`, `krona report`, `krona rm` and `krona docs`."""

from pathlib import Path

import pytest

from krona import KronaError, paths
from report.generate import make_result, write_all
from runs.made_runs import claimed, dead_pid, run, tree
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
    assert "krona rm lora-rte-s0" in invoke("show", "lora").output.splitlines()[-1]


def test_report_accepts_a_sweep_by_name_and_html_as_a_flag(outputs: Path) -> None:
    named, other = (make_result(method, sweep=method) for method in ("lora", "pa"))
    write_all(outputs, [named, other])
    assert invoke("report", "lora").output == invoke("report", "--sweep", "lora").output != invoke("report").output
    assert str(invoke("report", "lora", "--sweep", "pa").exception).endswith("Give only one name.")
    assert invoke("report", "lora", "--html").output == f"{outputs / 'report.html'}\n"
    assert "<html" in (outputs / "report.html").read_text(encoding="utf-8")


def test_a_report_names_the_version_of_an_installed_krona(outputs: Path) -> None:
    result = make_result()
    result.provenance |= {"git_commit": None, "versions": {"krona": "0.2.0"}}
    write_all(outputs, [result])
    assert "1 finished run of krona 0.2.0" in invoke("report", "table1").output


def test_the_default_outputs_do_not_follow_links(outputs: Path, tmp_path: Path) -> None:
    mine = tmp_path / "thesis.tex"
    mine.write_text("mine")
    (outputs / "dashboard").mkdir()
    for link, command in (("report.html", "report --html"), ("dashboard/report.json", "dashboard")):
        (outputs / link).symlink_to(mine)
        assert f"{outputs / link} is a symbolic link to {mine}" in str(invoke(*command.split()).exception)
    (outputs / "dashboard" / "report.json").unlink()
    (outputs / "dashboard").rmdir()
    (outputs / "dashboard").symlink_to(tmp_path)
    assert "dashboard is a symbolic link" in str(invoke("dashboard").exception)
    assert mine.read_text() == "mine"


def test_a_pack_leaves_out_a_result_of_another_program(outputs: Path, tmp_path: Path) -> None:
    (outputs / "mine").mkdir()
    (outputs / "mine" / "result.json").write_text('{"accuracy": 0.5}')
    done = invoke("pack", str(tmp_path / "runs.tar.xz"))
    assert (done.exception, "1 run," in done.output) == (None, True)
    assert "left out, because krona did not write result.json: mine" in done.output


def test_rm_with_yes_needs_the_whole_name(outputs: Path) -> None:
    run(outputs, "lora-rte-s0")
    before = tree(outputs)
    assert "'l' is only the beginning of lora-rte-s0. Give the whole id" in str(invoke("rm", "-y", "l").exception)
    assert tree(outputs) == before
    assert invoke("rm", "lora", answer="y\n").exit_code == 0
    assert not (outputs / "lora-rte-s0").exists()


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_rm_keeps_a_run_unless_the_answer_is_yes(answer: str, outputs: Path) -> None:
    before = tree(outputs)
    done = invoke("rm", "krona-rte-s0", answer=answer)
    assert (done.exit_code, "3 files" in done.output) == (1, True)
    assert tree(outputs) == before


@pytest.mark.parametrize(("words", "answer"), [(["--yes"], None), ([], "y\n")])
def test_rm_removes_only_the_named_runs(words: list[str], answer: str | None, outputs: Path) -> None:
    claimed(outputs / "krona-rte-s0", dead_pid())
    assert invoke("rm", "krona-rte-s0", str(outputs / "krona-rte-s0"), *words, answer=answer).exit_code == 0
    assert [path.name for path in outputs.glob("*-*")] == ["krona-rte-s1"]


def test_rm_refuses_a_run_that_a_process_has_claimed_and_a_link(outputs: Path, tmp_path: Path) -> None:
    claimed(outputs / "krona-rte-s1", 1)
    (outputs / "krona-linked").symlink_to(run(tmp_path, "elsewhere"))
    before = tree(tmp_path)
    for name in ("krona-rte-s1", "krona-linked", "nothing"):
        done = invoke("rm", name, "--yes")
        assert isinstance(done.exception, KronaError)
        assert name in str(done.exception)
    assert tree(tmp_path) == before


def test_rm_removes_only_runs_of_krona_in_outputs(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "lora"
    for folder in (own, outputs / "mine"):
        folder.mkdir()
        (folder / "result.json").write_text("{}")
        (folder / "thesis.tex").write_text("x")
    copied = run(tmp_path, "copied")
    (outputs / "renamed").mkdir()
    (outputs / "renamed" / "result.json").write_text((copied / "result.json").read_text())
    monkeypatch.chdir(own)
    before = tree(tmp_path)
    for name in ("../lora", ".", "mine", "renamed", str(copied)):
        done = invoke("rm", name, "--yes")
        assert isinstance(done.exception, KronaError)
        assert "Only runs in this folder" in str(done.exception) or "krona did not write" in str(done.exception)
    assert tree(tmp_path) == before


def test_rm_prefers_a_run_id_to_a_path_and_lists_files_that_krona_did_not_write(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = run(tmp_path, "krona-rte-s0")
    (outputs / "krona-rte-s0" / "thesis.tex").write_text("x")
    shown = invoke("rm", "krona-rte-s0", answer="y\n").output
    assert "not written by krona: thesis.tex\n" in shown
    assert other.is_dir()
    assert not (outputs / "krona-rte-s0").exists()


def test_no_command_advises_to_remove_the_folder_of_another_program(outputs: Path) -> None:
    (outputs / "mine").mkdir()
    (outputs / "mine" / "result.json").write_text("{}")
    assert "mine: " in invoke("list").output
    for command in ("list", "show mine", "doctor"):
        lines = invoke(*command.split()).output.splitlines()
        assert not [line for line in lines if "mine" in line and ("krona rm" in line or "rm -r" in line)]
    assert "krona rm krona-rte-s0 krona-rte-s1\n" in invoke("list").output


def test_docs_prints_a_page_by_its_name_or_its_path() -> None:
    pages = {line.split()[0] for line in invoke("docs").output.splitlines()}
    assert {"first-hour", "methods/krona"} <= pages
    text = (paths.DOCS / "errors.md").read_text()
    assert invoke("docs", "errors").output == invoke("docs", "docs/errors.md").output == text
    assert (paths.DOCS / "first_hour.py").read_text() in invoke("docs", "first-hour-in-python").output
    assert "`python -m pydoc krona.surgery`\n" in invoke("docs", "api").output
    assert "did you mean 'errors'" in str(invoke("docs", "eror").exception)
