"""The W&B workspace and report, and their spec as JSON. Only `push` needs a login."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.trackers.dashboard.keys import check, logged_keys
from krona.trackers.dashboard.panels import FAILED, SECTIONS, Panel, Section
from krona.trackers.guard import one_line
from krona.trackers.weights_and_biases import key_is_set

NAME = "krona"
NOBODY = "your-entity"  # in a spec that is made without a login


def workspace(project: str, entity: str, sections: Sequence[Section] = SECTIONS) -> Any:
    """A W&B workspace with a section for each of ours."""
    _, ws = _libraries()
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            ws.Section(name=section.title, panels=[_panel(panel) for panel in section.panels], is_open=True)
            for section in sections
        ],
        runset_settings=ws.RunsetSettings(
            pinned_columns=["summary:test/score", "summary:dev/best", "config:method", "config:task", "config:factors"]
        ),
    )


def report(project: str, entity: str, sections: Sequence[Section] = SECTIONS) -> Any:
    """A W&B report: a heading, a line, the panels and a table for each section, and the failed runs at the end."""
    wr, _ = _libraries()
    blocks: list[Any] = [wr.TableOfContents()]
    for section in (*sections, FAILED):
        runset = wr.Runset(
            name=section.title,  # without a project it is the report's own, so no server is asked
            filters=section.where,
            groupby=[f"config.{key}" for key in section.table_by],
            pinned_columns=[f"summary:{key}" for key in section.columns],
        )
        grid = wr.PanelGrid(runsets=[runset], panels=[_panel(panel) for panel in section.panels])
        blocks += [wr.H2(section.title), wr.P(section.text), grid]
    return wr.Report(
        project=project,
        entity=entity,
        title="Methods compared on GLUE",
        description="Made by `krona dashboard`: the code is src/krona/trackers/dashboard.",
        blocks=blocks,
        width="fluid",
    )


def _panel(panel: Panel) -> Any:
    wr, _ = _libraries()
    group = None if panel.group is None else wr.Config(panel.group)
    if panel.kind == "scatter":
        return wr.ScatterPlot(
            title=panel.title, x=wr.SummaryMetric(panel.x), y=wr.SummaryMetric(panel.y), log_x=panel.log_x
        )
    grouped = {"title": panel.title, "groupby": group, "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    if panel.kind == "bar":
        return wr.BarPlot(metrics=[panel.y], orientation="v", **grouped)
    return wr.LinePlot(x=panel.x, y=[panel.y], **grouped)


def write(folder: Path, *, outputs: Path, project: str, entity: str | None) -> list[Path]:
    """Check the panels against the runs in ``outputs``, then write workspace.json and report.json."""
    check(SECTIONS, logged_keys(outputs))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, made in (("workspace", workspace), ("report", report)):
        path = folder / f"{name}.json"
        path.write_text(json.dumps(as_spec(made(project, entity or NOBODY)), indent=1) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def as_spec(made: Any) -> Any:
    """The plain JSON values that are sent to the server."""
    return json.loads(made._to_model().model_dump_json(by_alias=True, exclude_none=True))


def push(*, outputs: Path, project: str, entity: str | None) -> list[str]:
    """Save both at W&B; their addresses.

    Raises:
        KronaError: no key is set, or the server did not take them.
    """
    check(SECTIONS, logged_keys(outputs))
    if not key_is_set():
        raise KronaError("no W&B key is set: wandb login, or without --push the spec is written to files")
    try:
        import wandb

        owner = entity or str(wandb.Api(timeout=30).default_entity)
        return [str(made(project, owner).save().url) for made in (workspace, report)]
    except Exception as error:
        why = f"W&B did not take the dashboard: {one_line(error)}"
        raise KronaError(f"{why}; without --push the spec is written to files") from error


def _libraries() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise KronaError(
            "krona dashboard needs wandb-workspaces, which is not installed: pip install -e '.[dashboard]'"
        ) from error
    return wr, ws
