"""Select the runs of a report: those of a sweep, of conditions, or of a list of run ids."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from krona.messages import KronaError, did_you_mean
from krona.paths import choice_files
from krona.report.layouts import Layout
from krona.report.runs import POOLING, ReportRun, Runs, find_metrics, load_runs, use_metric
from krona.runs.choose import filter_runs, filter_value
from krona.runs.folder import RunFolder
from krona.runs.studies import Study, read_studies
from krona.runs.sweep import load_run_ids

WHERE_KEYS = ("method", "task", "seed", "state", "sweep", "run", "any key of the config")


@dataclass(frozen=True)
class Selection:
    """The runs of a report."""

    runs: Runs
    waiting: int  # the number of runs that a sweep plans and that have not started
    others: int  # the number of runs of other sweeps that would fit the report's tables
    without_metric: int  # the number of runs that were left out because their task lacks the metric of the report
    studies: Sequence[Study]  # the searches to which some of the runs belong
    problems: Sequence[str]  # messages about files that could not be used


def select_runs(
    folders: Sequence[Path],
    layout: Layout,
    filters: Sequence[str],
    run_ids: Collection[str] | None,
    metric: str | None,
    *,
    required: bool,
) -> Selection:
    """Read the runs that belong to a layout, and select those of its sweep or of ``run_ids`` that meet all filters.

    If ``metric`` is given, it is the score of the runs, and runs without this metric are left out.

    Raises:
        KronaError: the sweep has no runs, and ``required`` is true; or no run has the metric.
    """
    runs, problems = load_runs(folders)
    fitting, planned = {run for run in runs if layout.row(run.result) is not None}, set[str](run_ids or ())
    if run_ids is not None:
        runs = [run for run in runs if run.run_id in planned]
    elif layout.sweep is not None:
        planned = {name for folder in folders for name in load_run_ids(folder, layout.sweep)}
        runs = _select_sweep(runs, layout.sweep, planned, required=required)
    others = len(fitting.difference(runs))
    runs = filter_runs(runs, filters, _filter_value, WHERE_KEYS)
    studies_or_errors = [study for folder in folders for study in read_studies(folder)]
    problems += [str(error) for error in studies_or_errors if isinstance(error, KronaError)]
    sweeps = {run.sweep for run in runs}
    studies = [study for study in studies_or_errors if isinstance(study, Study) and study.name in sweeps]
    pruned = {trial.run_id for study in studies for trial in study.trials if trial.state == "pruned"}
    runs = [run for run in runs if run in fitting and (run.done or run.run_id not in pruned)]
    several = any(text.startswith(f"{POOLING}=") and "," in text for text in filters)
    if several or (layout.sweep and any(run.varies_pooling for run in runs)):
        runs = [replace(run, varies_pooling=True) for run in runs]
    selected = len(runs)
    if metric is not None:
        known = dict.fromkeys(name for run in runs for name in find_metrics(run))
        runs = use_metric(runs, metric)
        if selected and not runs:
            raise KronaError(f"--metric {metric}: no run has this metric: {did_you_mean(metric, known)}")
    begun = {run_id for run_id in planned if any(RunFolder(folder / run_id).result.is_file() for folder in folders)}
    waiting = 0 if filters else len(planned - begun)
    return Selection(runs, waiting, others, selected - len(runs), studies, problems)


def _select_sweep(runs: Runs, sweep: str, planned: Collection[str], *, required: bool) -> list[ReportRun]:
    """Return the runs of a sweep, including the runs in ``planned`` that were finished when the sweep started."""
    selected = [run for run in runs if run.sweep == sweep or run.run_id in planned]
    if selected or not required:
        return selected
    names, shipped = sorted({run.sweep for run in runs if run.sweep}), choice_files("sweeps")
    if sweep in shipped:
        others = f" (sweeps with runs: {', '.join(names)})" if names else ""
        raise KronaError(
            f"The sweep {sweep} has no runs here{others}. To start them, run: krona train -m sweeps={sweep}"
        )
    raise KronaError(
        f"The sweep {sweep} was not found: {did_you_mean(sweep, dict.fromkeys([*names, *sorted(shipped)]))}"
    )


def _filter_value(run: ReportRun, key: str) -> str | None:
    known = run.settings.get(key) or run.settings.get(f"method.{key}")
    return known or filter_value(run.run_id, run.status, run.result.config, key)
