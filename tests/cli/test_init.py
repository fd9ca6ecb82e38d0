"""Test `krona init`: it writes a project whose configs compose, and it does not replace existing files."""

import shutil
from pathlib import Path

import pytest

from krona import KronaError, tasks
from krona.cli.run_commands import STARTER
from runs.made_runs import tree
from typed_config import check, compose_all, settings
from typed_run import krona


def init(*words: object) -> list[str]:
    """Return the lines that `krona init WORDS` prints."""
    return krona("init", *words).splitlines()


def test_what_it_writes_composes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert init("new/../own")[-1].endswith("method=my_krona")
    shutil.rmtree("own")
    *written, following = init("own")
    assert {tmp_path / name for name in written} == {path for path in (tmp_path / "own").rglob("*") if path.is_file()}
    assert following.startswith("next: cd own; ")
    assert following.endswith("krona train profile=demo task=reviews method=my_krona")
    monkeypatch.chdir("own")
    runs = [check(job.config) for job in compose_all("sweeps=my_sweep", "profile=demo", "task=reviews")]
    assert [run.config["method"]["name"] for run in runs] == ["lora", "lora", "my_krona", "my_krona"]


def test_it_replaces_nothing(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(KronaError, match=r"Nothing was written, because these files already exist: .*README\.md\."):
        init(tmp_path)
    assert (list(tmp_path.iterdir()), tree(tmp_path)) == ([file], before)


SOURCE = ("--from", "my tickets.csv")


def tickets(file: Path) -> Path:
    rows = [f'{i},"My invoice, number {i}",{("billing", "login")[i % 2]}' for i in range(40)]
    file.write_text("\n".join(["id,body,category", *rows, '40,"",login']) + "\n")
    return file


def test_a_task_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tickets(tmp_path / "my tickets.csv")
    written, *_, following = init("support", *SOURCE)
    assert (written, following) == ("conf/task/support.yaml", "next: krona check-data support")
    run = settings("task=support")
    assert run.data.skip_bad_rows
    assert run.trainer.max_steps == 30
    assert settings("task=support", "trainer.max_steps=-1").trainer.max_steps == -1
    assert not settings("task=support", "data.skip_bad_rows=false").data.skip_bad_rows
    assert run.task.files == {"train": str(tmp_path / "my tickets.csv")}  # also valid in another folder
    splits = tasks.load(run.task, run.data)
    assert sum(map(len, splits.by_role.values())) == 40
    with pytest.raises(KronaError, match=r"The task support exists already: .*support\.yaml\. Choose another name"):
        init("support", *SOURCE)
    with pytest.raises(KronaError, match=r"The task rte exists already"):
        init("rte", *SOURCE)
    with pytest.raises(KronaError, match=r"krona init NAME --from my tickets\.csv"):
        init(*SOURCE)
    with pytest.raises(KronaError, match=r"task='my task' is not a valid name"):  # printed commands contain the name
        init("my task", *SOURCE)
    with pytest.raises(KronaError, match=r"nothing\.csv: no such file"):
        init("other", "--from", "nothing.csv")
    with pytest.raises(KronaError, match=r"Add --from FILE"):
        init("other", "--label", "category")


def test_its_readme_names_what_it_writes() -> None:
    page = (STARTER / "README.md").read_text(encoding="utf-8")
    assert "krona init" not in page
    for path in (path for path in STARTER.rglob("*") if path.is_file() and path.name != "README.md"):
        assert path.relative_to(STARTER).as_posix() in page
