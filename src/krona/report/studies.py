"""Studies of `krona tune` in a report: their results in words, and the points of their pictures."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from krona.messages import KronaError, amount
from krona.outputs.studies import Study, Trial, read_studies
from krona.report.same_data import apart, differs
from krona.report.selection import StoredRun

STATES = ("finished", "pruned", "failed", "running")


def studies_of(folders: Sequence[Path], runs: Sequence[StoredRun]) -> tuple[list[Study], list[str]]:
    """The studies that made some of these runs, and a sentence for each file that can't be read."""
    made = {run.sweep for run in runs}
    found = [one for folder in folders if (folder / "studies").is_dir() for one in read_studies(folder)]
    problems = [str(one) for one in found if isinstance(one, KronaError)]
    return [one for one in found if isinstance(one, Study) and one.name in made], problems


def in_words(study: Study, runs: Sequence[StoredRun]) -> list[str]:
    """The number of trials, the best and its values, the importance of each axis; of ``runs`` those that it made."""
    counts = Counter(trial.state for trial in study.trials)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    lines = [f"{amount(len(study.trials), 'trial')}: {states}."]
    made = [run for run in runs if run.sweep == study.name and run.status == "done"]
    if odd := dict.fromkeys(key for run in made for key in apart(made[0], run)):
        lines.append(f"Its trials were not run on the same data ({differs([*odd])}): their scores do not compare.")
    if study.best is None:
        return [*lines, "None has finished, so there is no best yet."]
    lines.append(f"Best dev score {study.best.value:.2f}, trial {study.best.number}: {values(study.best)}.")
    if study.importances:
        shares = ", ".join(f"{key} {100 * share:.0f} %" for key, share in study.importances.items())
        lines.append(f"Importance of each axis for the best half of the trials (PED-ANOVA): {shares}.")
    return lines


def values(trial: Trial) -> str:
    """``optimizer.lr=0.00312 factors=32x24``"""
    shown = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in trial.params.items()}
    return " ".join(f"{key}={value}" for key, value in shown.items())
