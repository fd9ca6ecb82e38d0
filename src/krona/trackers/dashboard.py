"""The W&B workspace and report of dashboard.yaml, as JSON or saved at W&B. Only `push` needs a login."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from krona.messages import KronaError, did_you_mean
from krona.trackers.guard import first_line
from krona.trackers.values import History
from krona.trackers.weights_and_biases import key_is_set

NOBODY = "your-entity"  # in a spec that is made without a login
Section = Mapping[str, Any]
SECTIONS: Sequence[Section] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


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


def logged_keys(outputs: Path) -> dict[str, set[str]]:
    """The keys of all runs in ``outputs`` that had a tracker: of their history, summary and config."""
    keys: dict[str, set[str]] = {"history": set(), "summary": set(), "config": set()}
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


def check(sections: Sequence[Section], logged: Mapping[str, set[str]]) -> None:
    """Raise `KronaError` that names each key of a panel that no run has, with the nearest one."""
    wrong = []
    for section in sections:
        for kind, key in sorted(set(needed_keys(section))):
            if key not in logged[kind]:
                there = sorted(name for name in logged[kind] if name.count("/") < 2)  # without those of each place
                wrong.append(f"{section['title']}: no run has {key} in its {kind}; {did_you_mean(key, there)}")
    if wrong:
        raise KronaError("the dashboard shows what no run logs:\n" + "\n".join(f"  {line}" for line in wrong))


def needed_keys(section: Section) -> Iterator[tuple[str, str]]:
    """The keys that runs must have logged for a section, each after ``history``, ``summary`` or ``config``."""
    for panel in section.get("panels", ()):
        logged = "history" if panel["kind"] == "line" else "summary"
        yield from ((logged, panel[axis]) for axis in ("x", "y") if axis in panel)
        if "group" in panel:
            yield "config", panel["group"]
    yield from (("config", key) for key in section.get("table_by", ()))
    yield from (("summary", key) for key in section.get("columns", ()))


def build_workspace(project: str, entity: str) -> Any:
    """A W&B workspace with a section for each of ours."""
    _, ws = _libraries()
    columns = ["summary:test/score", "summary:dev/best", "config:method", "config:task", "config:factors"]
    shown = [section for section in SECTIONS if "panels" in section]
    return ws.Workspace(
        entity=entity,
        project=project,
        name="krona",
        sections=[ws.Section(name=one["title"], panels=_panels(one), is_open=True) for one in shown],
        runset_settings=ws.RunsetSettings(pinned_columns=columns),
    )


def build_report(project: str, entity: str) -> Any:
    """A W&B report: a heading, a line, the panels and a table for each section."""
    wr, _ = _libraries()
    blocks: list[Any] = [wr.TableOfContents()]
    for section in SECTIONS:
        runset = wr.Runset(
            name=section["title"],  # without a project it is the report's own, so no server is asked
            filters=section.get("where", ""),
            groupby=[f"config.{key}" for key in section.get("table_by", ())],
            pinned_columns=[f"summary:{key}" for key in section.get("columns", ())],
        )
        grid = wr.PanelGrid(runsets=[runset], panels=_panels(section))
        blocks += [wr.H2(section["title"]), wr.P(section["text"]), grid]
    title, description = "Methods compared on GLUE", "Made by `krona dashboard` from src/krona/trackers/dashboard.yaml."
    return wr.Report(project=project, entity=entity, title=title, description=description, blocks=blocks, width="fluid")


def _panels(section: Section) -> list[Any]:
    return [_panel(**panel) for panel in section.get("panels", ())]


def _panel(kind: str, title: str, y: str, x: str = "epoch", group: str | None = None, log_x: bool = False) -> Any:
    wr, _ = _libraries()
    if kind == "scatter":
        return wr.ScatterPlot(title=title, x=wr.SummaryMetric(x), y=wr.SummaryMetric(y), log_x=log_x)
    by = None if group is None else wr.Config(group)
    grouped = {"title": title, "groupby": by, "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    if kind == "bar":
        return wr.BarPlot(metrics=[y], orientation="v", **grouped)
    return wr.LinePlot(x=x, y=[y], **grouped)


def _libraries() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise KronaError(
            "krona dashboard needs wandb-workspaces, which is not installed: pip install -e '.[dashboard]'"
        ) from error
    return wr, ws
