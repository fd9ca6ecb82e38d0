"""A study's pictures: how the best score grew, and the score over each axis. Matplotlib, SVG."""

from pathlib import Path
from typing import Any

from krona.outputs.study import counted, optuna_or_error, storage_of, study_path


def write_plots(name: str, *, outputs: Path) -> list[Path]:
    """``outputs/studies/<name>-history.svg`` and ``-axes.svg``; fewer where no trial has finished."""
    study = optuna_or_error().load_study(study_name=name, storage=storage_of(study_path(outputs, name)))
    trials = counted(study)
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not done:
        return []
    folder = study_path(outputs, name).parent
    return [
        _save(_history(name, trials, done), folder / f"{name}-history.svg"),
        _save(_axes(name, done), folder / f"{name}-axes.svg"),
    ]


def _history(name: str, trials: list[Any], done: list[Any]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter([t.number for t in done], [t.value for t in done], s=18, label="finished")
    pruned = [t for t in trials if t.state.name == "PRUNED" and t.value is not None]
    if pruned:
        places = [t.number for t in pruned], [t.value for t in pruned]
        axes.scatter(*places, s=18, marker="x", color="grey", label="pruned")
    best, steps = float("-inf"), []
    for trial in done:
        best = max(best, trial.value)
        steps.append(best)
    axes.step([t.number for t in done], steps, where="post", label="best until now")
    axes.set(xlabel="trial", ylabel="dev score", title=name)
    axes.legend(frameon=False)
    return figure


def _axes(name: str, done: list[Any]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter
    from optuna.distributions import CategoricalDistribution

    keys = list(done[0].params)
    figure = Figure(figsize=(3.4 * len(keys), 3.6), layout="constrained")
    for number, key in enumerate(keys, start=1):
        axes = figure.add_subplot(1, len(keys), number)
        distribution = done[0].distributions[key]
        if isinstance(distribution, CategoricalDistribution):
            names = [str(choice).rsplit("/", 1)[-1] for choice in distribution.choices]
            places = [distribution.choices.index(t.params[key]) for t in done]
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
            axes.set_xlim(-0.5, len(names) - 0.5)
        else:
            places = [t.params[key] for t in done]
            axes.set_xscale("log" if distribution.log else "linear")
            axes.set_xlim(distribution.low / 1.1 if distribution.log else distribution.low, distribution.high * 1.1)
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.scatter(places, [t.value for t in done], s=18, c=[t.number for t in done])
        axes.set(xlabel=key, ylabel="dev score" if number == 1 else "")
    figure.suptitle(f"{name}: later trials are lighter")
    return figure


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    return path
