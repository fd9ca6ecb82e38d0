"""Test that the dashboard is built without a login, and that its keys are those that runs log."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.trackers.one_run import one_run

from krona.messages import KronaError
from krona.trackers.dashboard import SECTIONS, check, logged_keys, needed_keys

pytest.importorskip("wandb", reason="pip install -e .")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a real run with a tracker."""
    folder = tmp_path_factory.mktemp("outputs")
    job, _ = one_run(folder, "logger=tensorboard", "method=krona")
    assert job.state == "done"
    return folder


def chart(panel: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return panel["viewType"], panel["config"]


def test_the_dashboard_is_written_without_a_login(outputs: Path, tmp_path: Path) -> None:
    spec = pytest.importorskip("krona.trackers.dashboard")
    pytest.importorskip("wandb_workspaces", reason="pip install -e '.[dashboard]'")
    paths = spec.write(tmp_path / "dashboard", outputs=outputs, project="krona", entity=None)
    workspace, report = (json.loads(path.read_text()) for path in paths)
    sections = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    shown = [section for section in SECTIONS if "panels" in section]
    assert [section["name"] for section in sections] == [section["title"] for section in shown]
    assert [len(section["panels"]) for section in sections] == [len(section["panels"]) for section in shown]
    by_title = {chart(panel)[1]["chartTitle"]: chart(panel) for section in sections for panel in section["panels"]}
    kind, curve = by_title["Dev score"]
    assert kind == "Run History Line Plot"
    assert (curve["xAxis"], curve["metrics"]) == ("epoch", ["dev/score"])
    assert (curve["groupBy"], curve["groupAgg"], curve["groupArea"]) == ("method.value", "mean", "stddev")
    kind, cost = by_title["Test score against parameters"]
    assert (kind, cost["xAxis"], cost["yAxis"]) == ("Scatter Plot", "summary:params/trainable", "summary:test/score")
    grids = [block for block in report["spec"]["blocks"] if block["type"] == "panel-grid"]
    assert len(grids) == len(SECTIONS) == len(shown) + 1
    table = grids[0]["metadata"]["runSets"][0]
    assert [group["name"] for group in table["grouping"]] == ["task.value", "method.value"]
    failed = grids[-1]["metadata"]["runSets"][0]
    assert failed["filters"]["filters"][0]["value"] == ["failed", "crashed", "killed"]


def test_a_run_logs_the_keys_of_all_panels(outputs: Path) -> None:
    logged = logged_keys(outputs)
    check(SECTIONS, logged)
    assert {key for section in SECTIONS for kind, key in needed_keys(section) if kind == "history"} <= logged["history"]


def test_a_panel_with_an_unknown_key_is_an_error(outputs: Path) -> None:
    panel = {"kind": "line", "title": "Typo", "y": "dev/scores"}
    wrong = [{"title": "Mine", "panels": [panel], "table_by": ["metod"], "columns": ["test/scor"]}]
    with pytest.raises(KronaError) as error:
        check(wrong, logged_keys(outputs))
    message = str(error.value)
    assert "Mine: the key dev/scores was not found in the history of any run: did you mean 'dev/score'?" in message
    assert "Mine: the key metod was not found in the config of any run: did you mean 'method'?" in message
    assert "Mine: the key test/scor was not found in the summary of any run: did you mean 'test/score'?" in message


def test_no_run_no_key_and_no_library(outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = pytest.importorskip("krona.trackers.dashboard")
    with pytest.raises(KronaError, match="no finished run with a tracker"):
        spec.write(tmp_path, outputs=tmp_path, project="krona", entity=None)
    with pytest.raises(KronaError, match="No W&B API key is set\\. Run wandb login"):
        spec.push(outputs=outputs, project="krona", entity=None)
    monkeypatch.setitem(__import__("sys").modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(KronaError, match=r"pip install -e '\.\[dashboard\]'"):
        spec.build_workspace("krona", "me")
