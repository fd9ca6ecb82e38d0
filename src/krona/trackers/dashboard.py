"""The W&B workspace and report, as JSON or saved at W&B (`krona dashboard`). Only `push` needs a login."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from krona.messages import KronaError, did_you_mean
from krona.trackers.guard import first_line
from krona.trackers.panels import FAILED, KIND, SECTIONS, Panel, Section
from krona.trackers.values import History
from krona.trackers.weights_and_biases import key_is_set

NOBODY = "your-entity"  # in a spec that is made without a login


def write(folder: Path, *, outputs: Path, project: str, entity: str | None) -> list[Path]:
    """Check the panels against the runs in ``outputs``, then write workspace.json and report.json."""
    check(SECTIONS, logged_keys(outputs))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, build in (("workspace", build_workspace), ("report", build_report)):
        path = folder / f"{name}.json"
        model = build(project, entity or NOBODY)._to_model()  # what is sent to the server
        spec = json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
        path.write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def push(*, outputs: Path, project: str, entity: str | None) -> list[str]:
    """Save both at W&B and return their addresses.

    Raises:
        KronaError: no key is set, or the server did not take them.
    """
    check(SECTIONS, logged_keys(outputs))
    if not key_is_set():
        raise KronaError("no W&B key is set: wandb login, or without --push the spec is written to files")
    try:
        import wandb

        owner = entity or str(wandb.Api(timeout=30).default_entity)
        return [str(build(project, owner).save().url) for build in (build_workspace, build_report)]
    except Exception as error:
        why = f"W&B did not take the dashboard: {first_line(error)}"
        raise KronaError(f"{why}; without --push the spec is written to files") from error


def logged_keys(outputs: Path) -> dict[KIND, set[str]]:
    """The keys of all runs in ``outputs`` that had a tracker (their tracked.jsonl)."""
    keys: dict[KIND, set[str]] = {"history": set(), "summary": set(), "config": set()}
    for path in sorted(outputs.glob("*/tracked.jsonl")):
        for entry in History(path.parent).entries():
            keys["history"] |= entry.get("values", {}).keys()
            keys["summary"] |= entry.get("summary", {}).keys()
            keys["config"] |= entry.get("config", {}).keys()
    if not keys["summary"]:
        raise KronaError(
            f"no run in {outputs} with a tracker is done, so no panel can be checked: "
            "python train.py profile=demo method=krona logger=wandb makes one"
        )
    return keys


def check(sections: Iterable[Section], logged: dict[KIND, set[str]]) -> None:
    """Raise `KronaError` that names each key of a panel that no run has, with the nearest one."""
    wrong = []
    for section in sections:
        for kind, key in sorted(set(section.needed())):
            if key not in logged[kind]:
                there = sorted(name for name in logged[kind] if name.count("/") < 2)  # without those of each place
                wrong.append(f"{section.title}: no run has {key} in its {kind}; {did_you_mean(key, there)}")
    if wrong:
        raise KronaError("the dashboard shows what no run logs:\n" + "\n".join(f"  {line}" for line in wrong))


def build_workspace(project: str, entity: str) -> Any:
    """A W&B workspace with a section for each of ours."""
    _, ws = _libraries()
    columns = ["summary:test/score", "summary:dev/best", "config:method", "config:task", "config:factors"]
    return ws.Workspace(
        entity=entity,
        project=project,
        name="krona",
        sections=[
            ws.Section(name=section.title, panels=[_panel(panel) for panel in section.panels], is_open=True)
            for section in SECTIONS
        ],
        runset_settings=ws.RunsetSettings(pinned_columns=columns),
    )


def build_report(project: str, entity: str) -> Any:
    """A W&B report: a heading, a line, the panels and a table for each section, and the failed runs at the end."""
    wr, _ = _libraries()
    blocks: list[Any] = [wr.TableOfContents()]
    for section in (*SECTIONS, FAILED):
        runset = wr.Runset(
            name=section.title,  # without a project it is the report's own, so no server is asked
            filters=section.where,
            groupby=[f"config.{key}" for key in section.table_by],
            pinned_columns=[f"summary:{key}" for key in section.columns],
        )
        grid = wr.PanelGrid(runsets=[runset], panels=[_panel(panel) for panel in section.panels])
        blocks += [wr.H2(section.title), wr.P(section.text), grid]
    title, description = "Methods compared on GLUE", "Made by `krona dashboard` from src/krona/trackers/panels.py."
    return wr.Report(project=project, entity=entity, title=title, description=description, blocks=blocks, width="fluid")


def _panel(panel: Panel) -> Any:
    wr, _ = _libraries()
    if panel.kind == "scatter":
        axes = {"x": wr.SummaryMetric(panel.x), "y": wr.SummaryMetric(panel.y)}
        return wr.ScatterPlot(title=panel.title, log_x=panel.log_x, **axes)
    group = None if panel.group is None else wr.Config(panel.group)
    grouped = {"title": panel.title, "groupby": group, "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    if panel.kind == "bar":
        return wr.BarPlot(metrics=[panel.y], orientation="v", **grouped)
    return wr.LinePlot(x=panel.x, y=[panel.y], **grouped)


def _libraries() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise KronaError(
            "krona dashboard needs wandb-workspaces, which is not installed: pip install -e '.[dashboard]'"
        ) from error
    return wr, ws
