"""Test `krona init`: it writes a project whose configs compose, and it does not replace existing files."""

import shutil
from pathlib import Path

import datasets
import pytest

from krona import KronaError, tasks
from krona.cli.run_commands import STARTER, init
from krona.config import check
from krona.config.compose import compose_job, hydra_session
from krona.config.multirun import expand
from krona.config.overrides import normalize
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


def tickets(file: Path) -> Path:
    rows = [f'{i},"My invoice, number {i}",{("billing", "login")[i % 2]}' for i in range(40)]
    file.write_text("\n".join(["id,body,category", *rows, '40,"",login']) + "\n")
    return file


def test_a_task_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tickets(tmp_path / "my tickets.csv")
    with pytest.raises(KronaError, match=r"run: krona init my_tickets --from my tickets\.csv$"), hydra_session():
        compose_job(normalize(["data='my tickets.csv'"]))
    init(Path("support"), source="my tickets.csv")
    written, *_, check_it, try_it, compare = capsys.readouterr().out.splitlines()
    assert written == "conf/task/support.yaml"
    assert check_it.endswith("krona check-data support")
    assert try_it.endswith("krona train task=support method=lora profile=demo")
    assert compare.endswith("krona train -m task=support method=lora,krona,layer_norm backbone=minilm_l6 sweep=support")
    with hydra_session():
        settings = check.settings(compose_job(normalize(["task=support"])).config)
        stopping = compose_job(normalize(["task=support", "data.skip_bad_rows=false"])).config
    assert (settings.data.skip_bad_rows, stopping["data"]["skip_bad_rows"]) == (True, False)
    assert settings.task.files == {"train": str(tmp_path / "my tickets.csv")}  # also valid in another folder
    splits = tasks.load(settings.task, settings.data)
    assert sum(map(len, splits.by_role.values())) == 40
    with pytest.raises(KronaError, match=r"The task support exists already: .*support\.yaml\. Choose another name"):
        init(Path("support"), source="my tickets.csv")
    with pytest.raises(KronaError, match=r"The task rte exists already"):
        init(Path("rte"), source="my tickets.csv")
    with pytest.raises(KronaError, match=r"krona init NAME --from my tickets\.csv"):
        init(source="my tickets.csv")
    with pytest.raises(KronaError, match=r"nothing\.csv: no such file"):
        init(Path("other"), source="nothing.csv")
    with pytest.raises(KronaError, match=r"Add --from FILE"):
        init(Path("other"), label="category")


def test_a_task_from_a_data_set_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = {"text": [f"a film, number {i}" for i in range(20)], "label": ["bad", "good"] * 10}
    found = {"train": datasets.Dataset.from_dict(rows), "test": datasets.Dataset.from_dict(rows)}
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"someone/films": datasets.DatasetDict(found)}[name])
    monkeypatch.setattr("krona.tasks.hub.unreachable", lambda path: None)
    init(Path("films"), source="someone/films")
    with hydra_session():
        task = check.settings(compose_job(["task=films"]).config).task
    assert task.files == {"train": str(tmp_path / "data" / "films")}
    monkeypatch.setattr("krona.tasks.hub.unreachable", lambda path: "no network")
    with pytest.raises(KronaError, match=r"someone/flims is not a file, and a data set .*: no network\. Correct"):
        init(Path("flims"), source="someone/flims")


def test_its_readme_names_what_it_writes() -> None:
    page = (STARTER / "README.md").read_text(encoding="utf-8")
    assert "krona init" not in page
    for path in (path for path in STARTER.rglob("*") if path.is_file() and path.name != "README.md"):
        assert path.relative_to(STARTER).as_posix() in page
