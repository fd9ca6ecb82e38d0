"""Test the folders of configs, sweeps and results: a user's own folders have precedence over krona's."""

import json
import sys
from pathlib import Path

import pytest

from krona import paths
from krona.cli.train import read_options
from krona.config import check
from krona.config.choices import choices, groups, own_targets
from krona.config.compose import compose_job, hydra_session
from krona.config.overrides import read_axes
from krona.config.target_classes import find_class
from krona.messages import KronaError
from typed_run import output_of, train

MINE = "# @package _global_\ndefaults: [lora, _self_]\nmethod: {name: mine, rank: 3}\n"


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KRONA_CONF", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])  # a target adds the working directory
    return tmp_path


def test_in_the_repository_only_its_own_folders_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(paths.PROJECT)
    monkeypatch.delenv("KRONA_CONF", raising=False)
    assert paths.conf_folders() == [paths.CONF]
    assert paths.sweeps_folders() == [paths.SWEEPS]
    assert not paths.INSTALLED


def test_the_order_of_precedence_is_given_folder_working_directory_krona(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRONA_CONF", "given/conf")
    for folder in ("given/conf", "given/sweeps", "conf", "sweeps"):
        (here / folder).mkdir(parents=True)
    assert paths.conf_folders() == [here / "given" / "conf", here / "conf", paths.CONF]
    assert paths.sweeps_folders() == [here / "given" / "sweeps", here / "sweeps", paths.SWEEPS]


def test_an_own_method_is_listed_composed_and_may_be_imported(here: Path) -> None:
    write(here / "conf" / "method" / "mine.yaml", MINE)
    write(here / "conf" / "method" / "theirs.yaml", "method: {_target_: own_module.Branch}\n")
    write(here / "conf" / "notes" / "a.yaml", "")
    assert {"mine", "lora"} <= {*choices("method")}
    assert "notes" in groups()
    assert "own_module.Branch" in own_targets()
    with hydra_session():
        job = compose_job(["method=mine", "task=rte"])
    assert (job.config["method"]["name"], job.config["method"]["rank"]) == ("mine", 3)


def test_an_own_file_replaces_kronas_of_that_name(here: Path) -> None:
    text = (paths.CONF / "method" / "lora.yaml").read_text().replace("rank: 1", "rank: 5")
    write(here / "conf" / "method" / "lora.yaml", text)
    assert paths.choice_files("method")["lora"] == here / "conf" / "method" / "lora.yaml"
    with hydra_session():
        assert compose_job(["method=lora", "task=rte"]).config["method"]["rank"] == 5


def test_an_own_sweep_has_precedence(here: Path) -> None:
    axes = "# @package _global_\nsweep: seeds\nhydra: {sweeper: {params: {seed: '7,8'}}}\n"
    write(here / "sweeps" / "seeds.yaml", axes)
    write(here / "sweeps" / "tune" / "default.yaml", axes)
    assert "compare" in choices("sweeps")
    assert paths.find_first(paths.sweeps_folders(), "tune/default.yaml").is_relative_to(here)
    with hydra_session():
        assert read_axes(["sweeps=seeds"]) == {"seed": "7,8"}


def test_another_programs_config_and_a_missing_folder_are_errors(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here / "conf" / "config.yaml", "defaults: [model: big]\n")
    with pytest.raises(KronaError, match=r"conf/config\.yaml is another program's"), hydra_session():
        pass
    monkeypatch.setenv("KRONA_CONF", "nowhere")
    with pytest.raises(KronaError, match="KRONA_CONF=nowhere: there is no such folder"), hydra_session():
        pass


@pytest.mark.slow
def test_krona_train_takes_a_config_folder_and_modules_of_the_working_directory(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here / "elsewhere" / "method" / "mine.yaml", MINE.replace("rank: 3", "_target_: my_branch.Mine"))
    write(here / "my_branch.py", "from krona.methods.lora import LoRA\n\n\nclass Mine(LoRA): ...\n")
    command = [sys.executable, "-P", "-m", "krona", "train", "--config-dir", "elsewhere", "--cfg", "job"]
    command += ["method=mine", "profile=demo"]
    assert output_of(*command, PYTHONPATH=str(paths.PROJECT / "src")).startswith("# mine-sample_rte-nano-")
    monkeypatch.setattr(sys, "argv", ["krona", "--config-dir", "nowhere"])
    with pytest.raises(KronaError, match=r"The folder nowhere \(--config-dir\) was not found"):
        read_options()


@pytest.mark.parametrize("own", [True, False])
def test_a_folder_with_its_own_conf_has_its_own_results(own: bool, here: Path) -> None:
    if own:
        (here / "conf").mkdir()
    printed = output_of(sys.executable, "-c", "import krona.paths as p; print(p.OUTPUTS)")
    assert Path(printed.strip()) == (here if own else paths.PROJECT) / "outputs"


def own_modules(folder: Path) -> None:
    """Write a branch, and a module that it imports."""
    write(folder / "my_branch.py", "from my_neighbour import LoRA\n\n\nclass Mine(LoRA): ...\n")
    write(folder / "my_neighbour.py", "from krona.methods.lora import LoRA\n")
    write(folder / "conf" / "method" / "mine.yaml", MINE.replace("rank: 3", "_target_: my_branch.Mine"))


def test_a_target_may_be_in_the_working_directory(here: Path) -> None:
    own_modules(here)
    write(here / "yaml.py", "raise SystemExit('an installed module has precedence')\n")
    assert find_class("my_branch.Mine", "method._target_", "branch").__name__ == "Mine"
    assert find_class("yaml.YAMLError", "x").__module__ == "yaml.error"
    write(here / "my_package" / "__init__.py", "")
    write(here / "my_package" / "branch.py", "from my_other import LoRA as Mine\n")
    write(here / "my_other.py", "from krona.methods.lora import LoRA\n")
    assert find_class("my_package.branch.Mine", "method._target_", "branch").__name__ == "LoRA"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def x(:", r"SyntaxError: invalid syntax \(.*/broken\.py, line 1\)$"),
        ("import math\nmath.nothing", r"AttributeError: .*'nothing' \(.*/broken\.py, line 2\)$"),
    ],
)
def test_an_own_module_with_an_error_is_named_with_the_line(text: str, message: str, here: Path) -> None:
    write(here / "broken.py", text)
    with pytest.raises(KronaError, match=message):
        find_class("broken.Mine", "method._target_", "branch")
    with pytest.raises(KronaError, match=r"No module named 'brokn'\. Check the name.*working directory.*PYTHONPATH"):
        find_class("brokn.inner.Mine", "method._target_", "branch")


def test_an_error_of_a_task_contains_its_file(here: Path) -> None:
    write(here / "conf" / "task" / "mood.yaml", "name: mood")
    with pytest.raises(KronaError, match=r"^task mood: .* is missing.* \(.*/conf/task/mood\.yaml\)$"):
        check.task({"name": "mood", "columns": ["text"], "metrics": ["f1"]}, own=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", [["-m", "seed=0,1", "hydra/launcher=joblib"], ["trainer.devices=2"]])
def test_an_own_module_in_other_processes(how: list[str], here: Path) -> None:
    if "-m" in how:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install -e '.[cluster]'")
    own_modules(here)
    small = ["method=mine", "profile=demo", "trainer.max_steps=1", "optimizer.warmup_steps=0", "data.train_rows=16"]
    done = train(here / "outputs", *small, *how, cwd=here)
    results = [json.loads(file.read_text()) for file in here.glob("outputs/mine-*/result.json")]
    assert [result["status"] for result in results] == ["done"] * (2 if "-m" in how else 1), done.stdout + done.stderr
    assert done.returncode == 0


def test_only_the_users_own_config_may_use_another_inner_class() -> None:
    path, where = "pytorch_lightning.loggers.csv_logs.ExperimentWriter", "logger.mine.writer._target_"
    assert find_class(path, where).__name__ == "ExperimentWriter"
    with pytest.raises(KronaError, match=r"is not a subclass of .*Logger"):
        find_class(path, where, own=False)
