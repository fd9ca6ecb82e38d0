"""Test that the dashboard is built without a login, and that its keys are those that runs log."""

import json
import sys
from pathlib import Path

import pytest
from tests.trackers.one_run import history_of, one_run, read_wandb

from krona.messages import KronaError
from krona.trackers import dashboard
from krona.trackers.dashboard import SECTIONS
from typed_run import invoke

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_dashboard_is_written_without_a_login(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces", reason="pip install -e '.[dashboard]'")
    paths = dashboard.write(tmp_path / "dashboard", project="krona", entity=None, overwrite=False)
    workspace, report = (json.loads(path.read_text()) for path in paths)
    sections = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    shown = [section for section in SECTIONS if "panels" in section]
    assert [section["name"] for section in sections] == [section["title"] for section in shown]
    assert [len(section["panels"]) for section in sections] == [len(section["panels"]) for section in shown]
    panels = [panel["config"] for section in sections for panel in section["panels"]]
    charts = {panel["chartTitle"]: panel for panel in panels}
    curve = charts["Dev score"]
    assert (curve["xAxis"], curve["metrics"]) == ("train/epoch", ["dev/score"])
    assert curve["groupBy"] == "method.value"
    cost = charts["Test score against parameters"]
    assert cost["xAxis"] == "summary:params/trainable"
    assert cost["yAxis"] == "summary:test/score"
    grids = [block for block in report["spec"]["blocks"] if block["type"] == "panel-grid"]
    assert len(grids) == len(SECTIONS) == len(shown) + 1
    table = grids[0]["metadata"]["runSets"][0]
    assert [group["name"] for group in table["grouping"]] == ["task.value", "method.value"]
    failed = grids[-1]["metadata"]["runSets"][0]
    assert failed["filters"]["filters"][0]["value"] == ["failed", "crashed", "killed"]


def test_the_dashboard_replaces_no_file_of_another_folder(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces", reason="pip install -e '.[dashboard]'")
    (tmp_path / "report.json").write_text("mine")
    done = invoke("dashboard", "--folder", str(tmp_path))
    assert f"{tmp_path / 'report.json'} exists. Use --overwrite" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_text() == "mine"
    assert invoke("dashboard", "--folder", str(tmp_path), "--overwrite").exit_code == 0
    assert (tmp_path / "report.json").read_text().startswith("{")


def test_a_run_logs_the_keys_of_all_panels(tmp_path: Path) -> None:
    job, lines = one_run(tmp_path, "logger=[wandb,tensorboard]")
    assert not [line for line in lines if "failed" in line]
    assert [*(job.folder / "tensorboard").glob("events.out.*")]
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    told = read_wandb(file, summary=True)
    logged = {"values": {key for row in history_of(file) for key in row}, "summary": set(told["summary"])}
    logged["config"] = set(told["config"])
    for section in SECTIONS:
        for panel in section.get("panels", ()):
            kind = "values" if panel["kind"] == "line" else "summary"
            assert {panel[axis] for axis in ("x", "y") if axis in panel} <= logged[kind], panel
            assert panel.get("group", "method") in logged["config"], panel
        assert {*section.get("table_by", ())} <= logged["config"]
        assert {*section.get("columns", ())} <= logged["summary"]


def test_no_key_and_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KronaError, match="No W&B API key is set\\. Run wandb login"):
        dashboard.push(project="krona", entity=None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(KronaError, match=r"pip install -e '\.\[dashboard\]'"):
        dashboard.build_workspace("krona", "me")
