"""Build the W&B workspace and the W&B report that dashboard.yaml describes.

`write` writes both to JSON files. `push` saves both at W&B and needs an API key.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from krona.messages import KronaError, first_line
from krona.runs.folder import require_new
from krona.safe_files import write_text
from krona.trackers.weights_and_biases import MAX_REASON, key_is_set

NO_ENTITY = "your-entity"  # placeholder for the entity in files that are written without a login
FILES = ("workspace.json", "report.json")
DashboardSection = Mapping[str, Any]
SECTIONS: Sequence[DashboardSection] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def write(folder: Path, *, project: str, entity: str | None, overwrite: bool) -> list[Path]:
    """Write workspace.json and report.json into ``folder``, and return the paths of the files.

    Args:
        entity: the W&B team or user; None: a placeholder is written.

    Raises:
        KronaError: a file exists and ``overwrite`` is false, or it cannot be written. No file is then changed.
    """
    specs = {}
    for name, build in zip(FILES, (build_workspace, build_report), strict=True):
        require_new(folder / name, overwrite=overwrite)
        model = build(project, entity or NO_ENTITY)._to_model()  # the model that `save` would send to W&B
        specs[folder / name] = json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
    for path, spec in specs.items():
        write_text(path, json.dumps(spec, indent=1) + "\n")
    return list(specs)


def push(*, project: str, entity: str | None) -> list[str]:
    """Save the workspace and the report at W&B, and return their URLs. The arguments are those of `write`.

    Raises:
        KronaError: no W&B API key is set, or the dashboard cannot be saved.
    """
    if not key_is_set():
        raise KronaError("No W&B API key is set. Run wandb login, or leave out --push to write the dashboard to files.")
    try:
        import wandb

        owner = entity or str(wandb.Api(timeout=30).default_entity)
        return [str(build(project, owner).save().url) for build in (build_workspace, build_report)]
    except Exception as error:
        why = first_line(error)[:MAX_REASON]
        raise KronaError(
            f"The dashboard could not be saved at W&B: {why}. Leave out --push to write it to files."
        ) from error


def build_workspace(project: str, entity: str) -> Any:
    """Build the W&B workspace from the sections that have panels."""
    _, ws = _import_libraries()
    columns = ["summary:test/score", "summary:dev/best", "config:method", "config:task", "config:factors"]
    sections = [section for section in SECTIONS if "panels" in section]
    return ws.Workspace(
        entity=entity,
        project=project,
        name="krona",
        sections=[ws.Section(name=section["title"], panels=_panels(section), is_open=True) for section in sections],
        runset_settings=ws.RunsetSettings(pinned_columns=columns),
    )


def build_report(project: str, entity: str) -> Any:
    """Build the W&B report. Each section has a heading, a text, the panels and a table."""
    wr, _ = _import_libraries()
    blocks: list[Any] = [wr.TableOfContents()]
    for section in SECTIONS:
        runset = wr.Runset(
            name=section["title"],  # the project is omitted, because it would cause a request to the server
            filters=section.get("where", ""),
            groupby=[f"config.{key}" for key in section.get("table_by", ())],
            pinned_columns=[f"summary:{key}" for key in section.get("columns", ())],
        )
        grid = wr.PanelGrid(runsets=[runset], panels=_panels(section))
        blocks += [wr.H2(section["title"]), wr.P(section["text"]), grid]
    title, description = "Methods compared on GLUE", "Made by `krona dashboard` from src/krona/trackers/dashboard.yaml."
    return wr.Report(project=project, entity=entity, title=title, description=description, blocks=blocks, width="fluid")


def _panels(section: DashboardSection) -> list[Any]:
    return [_panel(**panel) for panel in section.get("panels", ())]


def _panel(kind: str, title: str, y: str, x: str = "train/epoch", group: str | None = None, log_x: bool = False) -> Any:
    wr, _ = _import_libraries()
    if kind == "scatter":
        return wr.ScatterPlot(title=title, x=wr.SummaryMetric(x), y=wr.SummaryMetric(y), log_x=log_x)
    by = None if group is None else wr.Config(group)
    grouped = {"title": title, "groupby": by, "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    if kind == "bar":
        return wr.BarPlot(metrics=[y], orientation="v", **grouped)
    return wr.LinePlot(x=x, y=[y], **grouped)


def _import_libraries() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise KronaError(
            "krona dashboard needs wandb-workspaces, which is not installed. Run: pip install -e '.[dashboard]'"
        ) from error
    return wr, ws
