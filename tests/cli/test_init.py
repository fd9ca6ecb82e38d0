"""Test `krona init`: it writes a project whose configs compose, and it does not replace existing files."""

import shutil
from pathlib import Path

import pytest

from krona.cli.run_commands import STARTER, init
from krona.config import check
from krona.config.compose import compose_job, hydra_session
from krona.config.multirun import expand
from krona.messages import KronaError
from runs.made_runs import tree


def test_what_it_writes_composes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    init(Path("new/../own"))
    assert capsys.readouterr().out.endswith("method=my_krona\n")
    shutil.rmtree("own")
    init(Path("own"))
    *written, following = capsys.readouterr().out.splitlines()
    assert {tmp_path / name for name in written} == {path for path in (tmp_path / "own").rglob("*") if path.is_file()}
    assert following.startswith("next: cd own; ")
    assert following.endswith("krona train profile=demo task=reviews method=my_krona")
    monkeypatch.chdir("own")
    with hydra_session():
        jobs = expand(["sweeps=my_sweep", "profile=demo", "task=reviews"])
        runs = [check.settings(compose_job(job).config) for job in jobs]
    assert [run.config["method"]["name"] for run in runs] == ["lora", "lora", "my_krona", "my_krona"]


@pytest.mark.parametrize("is_link", [False, True])
def test_it_replaces_nothing_and_writes_through_no_link(is_link: bool, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    if is_link:
        file.symlink_to(tmp_path / "nowhere")
    else:
        file.write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(KronaError, match=r"Nothing was written, because these files already exist: .*README\.md\."):
        init(tmp_path)
    assert (list(tmp_path.iterdir()), tree(tmp_path)) == ([file], before)


def test_its_readme_names_what_it_writes() -> None:
    page = (STARTER / "README.md").read_text(encoding="utf-8")
    assert "krona init" not in page
    for path in (path for path in STARTER.rglob("*") if path.is_file() and path.name != "README.md"):
        assert path.relative_to(STARTER).as_posix() in page
