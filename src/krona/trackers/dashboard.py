"""Build the W&B workspace and the W&B report that dashboard.yaml describes.

`write` writes both to JSON files. `push` saves both at W&B and needs an API key.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from krona.messages import KronaError, did_you_mean
from krona.trackers.guard import first_line
from krona.trackers.values import History
from krona.trackers.weights_and_biases import key_is_set

NO_ENTITY = "your-entity"  # placeholder for the entity in files that are written without a login
DashboardSection = Mapping[str, Any]
SECTIONS: Sequence[DashboardSection] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def write(folder: Path, *, outputs: Path, project: str, entity: str | None) -> list[Path]:
    """Write workspace.json and report.json into ``folder``, and return the paths of the files.

    Args:
        folder: the folder for the files.
        outputs: the folder that contains the folders of the runs. The keys of the panels are checked against the keys
            that these runs have logged.
        project: the W&B project.
        entity: the W&B team or user; None for a placeholder.

    Raises:
        KronaError: a panel has a key that no run has logged.
    """
    check(SECTIONS, logged_keys(outputs))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, build in (("workspace", build_workspace), ("report", build_report)):
        path = folder / f"{name}.json"
        model = build(project, entity or NO_ENTITY)._to_model()  # the model that `save` would send to W&B
        spec = json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
        path.write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def push(*, outputs: Path, project: str, entity: str | None) -> list[str]:
    """Save the workspace and the report at W&B, and return their URLs. The arguments are those of `write`.

    Raises:
        KronaError: no W&B key is set, the server fails, or a panel has a key that no run has logged.
    """
    check(SECTIONS, logged_keys(outputs))
    if not key_is_set():
        raise KronaError("No W&B API key is set. Run wandb login, or leave out --push to write the dashboard to files.")
    try:
        import wandb

        owner = entity or str(wandb.Api(timeout=30).default_entity)
        return [str(build(project, owner).save().url) for build in (build_workspace, build_report)]
    except Exception as error:
        why = first_line(error)
        raise KronaError(
            f"The dashboard could not be saved at W&B: {why}. Leave out --push to write it to files."
        ) from error


def logged_keys(outputs: Path) -> dict[str, set[str]]:
    """Return the keys that the runs in ``outputs`` have logged, as a dict with three sets of keys.

    The set ``history`` contains the keys of the values that are logged after each epoch. The set ``summary`` contains
    the keys of the final values, and the set ``config`` contains the keys of the config.

    Raises:
        KronaError: no finished run has a tracker.
    """
    keys: dict[str, set[str]] = {"history": set(), "summary": set(), "config": set()}
    for path in sorted(outputs.glob("*/tracked.jsonl")):
        for entry in History(path.parent).entries():
            keys["history"] |= entry.get("values", {}).keys()
            keys["summary"] |= entry.get("summary", {}).keys()
            keys["config"] |= entry.get("config", {}).keys()
    if not keys["summary"]:
        raise KronaError(
            f"{outputs} has no finished run with a tracker. The dashboard needs such a run, because it checks its "
            "keys against the logged keys. Run: python train.py profile=demo method=krona logger=wandb"
        )
    return keys


def check(sections: Sequence[DashboardSection], logged: Mapping[str, set[str]]) -> None:
    """Raise `KronaError` if a panel has a key that no run has logged. The message suggests the most similar key."""
    wrong = []
    for section in sections:
        for kind, key in sorted(set(needed_keys(section))):
            if key not in logged[kind]:
                known = sorted(name for name in logged[kind] if name.count("/") < 2)  # no keys of single modules
                wrong.append(
                    f"{section['title']}: the key {key} was not found in the {kind} of any run: "
                    f"{did_you_mean(key, known)}"
                )
    if wrong:
        raise KronaError("The dashboard has keys that no run has logged:\n" + "\n".join(f"  {line}" for line in wrong))


def needed_keys(section: DashboardSection) -> Iterator[tuple[str, str]]:
    """Yield each key that the panels of a section need, as a pair of its kind and the key.

    The kind is ``history``, ``summary`` or ``config``, as in `logged_keys`.
    """
    for panel in section.get("panels", ()):
        kind = "history" if panel["kind"] == "line" else "summary"
        yield from ((kind, panel[axis]) for axis in ("x", "y") if axis in panel)
        if "group" in panel:
            yield "config", panel["group"]
    yield from (("config", key) for key in section.get("table_by", ()))
    yield from (("summary", key) for key in section.get("columns", ()))


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
            name=section["title"],  # no project, because it would cause a request to the server
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


def _panel(kind: str, title: str, y: str, x: str = "epoch", group: str | None = None, log_x: bool = False) -> Any:
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
