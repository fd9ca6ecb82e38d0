"""The workspace and the report of wandb-workspaces, and their spec as JSON. Nothing here needs a login but `push`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.trackers.dashboard.keys import check, logged_keys
from krona.trackers.dashboard.panels import FAILED, SECTIONS, Panel, Section
from krona.trackers.weights_and_biases import key_is_set

NAME = "krona"
NOBODY = "your-entity"  # stands in a spec that was made without a login


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
            name=section.title,  # without a project it is the report's own, and nobody has to be asked
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
        description="Made by `krona dashboard`: the code is src/krona/dashboard.",
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
    if panel.kind == "bar":
        return wr.BarPlot(
            title=panel.title,
            metrics=[panel.y],
            orientation="v",
            groupby=group,
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )
    return wr.LinePlot(
        title=panel.title, x=panel.x, y=[panel.y], groupby=group, groupby_aggfunc="mean", groupby_rangefunc="stddev"
    )


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
    """What would be sent to the server, as plain JSON values."""
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
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise KronaError(
            f"W&B did not take the dashboard: {first}; without --push the spec is written to files"
        ) from error


def _libraries() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise KronaError(
            "krona dashboard needs wandb-workspaces, which is not installed: pip install -e '.[dashboard]'"
        ) from error
    return wr, ws
