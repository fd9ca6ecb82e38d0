"""Find the best values of a search, for recipe=tuned.

The search is a study of `krona tune`. The best values are those with the highest dev score. To keep the comparison of
methods fair, an error is raised if another method had more trials on the same task.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from krona.messages import KronaError, did_you_mean, first_few, join_names, plural
from krona.runs.folder import RunFolder
from krona.runs.result import Search
from krona.runs.run_id import canonical, find_value, flatten
from krona.runs.studies import Study, Trial, read_study, study_files

MAX_KEYS = 5  # maximum number of different settings in a message
# keys that change the length of a run, on which the default of optimizer.warmup_steps depends
LENGTH = {"batch_size", "trainer.max_epochs", "trainer.max_steps", "data.train_rows"}
GROUP_KEYS = {"factors": ("method.kron_factors", "method.fit_factors")}  # maps a group to the keys that its files set


@dataclass(frozen=True)
class StudyBest:
    """A study and its best trial."""

    study: Study
    trial: Trial
    config: Mapping[str, Any]  # the config of the best trial's run

    @property
    def name(self) -> str:
        return self.study.name

    @property
    def trials(self) -> int:
        """The number of trials of the study."""
        return len(self.study.trials)

    @property
    def method(self) -> str:
        return str(self.config["method"]["name"])

    @property
    def varied(self) -> tuple[str, ...]:
        """The dotted keys of the config that the search varied."""
        keys = [item.lstrip("+").partition("=")[0] for item in self.trial.overrides]
        varied = tuple(inner for key in keys for inner in GROUP_KEYS.get(key, (key,)))
        return varied if LENGTH.isdisjoint(varied) else (*varied, "optimizer.warmup_steps")

    @property
    def score(self) -> float:
        """The dev score of the best trial."""
        return self.trial.score or 0.0

    def fits(self, config: Mapping[str, Any]) -> bool:
        """Return whether a config and the best trial's config differ only in the searched keys and the seed."""
        return not self.differences(config)

    def differences(self, config: Mapping[str, Any]) -> list[str]:
        """Return the keys, other than the searched keys and the seed, in which a config differs from the study."""
        own, other = _without(self.config, self.varied), _without(config, self.varied)
        return [key for key in {**own, **other} if key not in own or key not in other or own[key] != other[key]]

    def has_length(self, config: Mapping[str, Any]) -> bool:
        """Return whether the runs of a config are as long as those of the study."""
        keys = LENGTH.difference(self.varied)
        return all(find_value(self.config, key) == find_value(config, key) for key in keys)

    def values(self) -> dict[str, Any]:
        """Return the values of the searched keys and of ``optimizer.lr``.

        Raises:
            KronaError: a searched key sets the class of an object (``_target_``).
        """
        values = {key: find_value(self.config, key) for key in (*self.varied, "optimizer.lr")}
        for key, value in values.items():
            if "_target_" in f"{key} {value!r}":
                raise KronaError(
                    f"recipe=tuned: the study {self.name} sets {key}, but a study must not set the class of an object."
                )
        return values

    def search(self) -> Search:
        """Return the record of this search for result.json."""
        scores = [trial.score or 0.0 for trial in self.study.refined_trials]
        second = scores[1] if len(scores) > 1 else None
        return {"trials": self.trials, "seeds": self.study.seeds, "best": scores[0], "second": second}

    def note(self) -> str:
        """Return a note about the origin of the values, and about keys with the smallest or largest value tried."""
        text = f"recipe=tuned took {' '.join(self.trial.overrides)}, the best of {plural(self.trials, 'trial')} on dev "
        text += f"({self.score:.2f}), study {self.name}"
        for key in (key for key, distribution in self.study.axes.items() if not hasattr(distribution, "choices")):
            tried = {trial.params[key] for trial in self.study.trials if key in trial.params}
            limits = {min(tried): "smallest", max(tried): "largest"} if len(tried) > 1 else {}
            if (value := self.trial.params[key]) in limits:
                text += f". Its {key} is the {limits[value]} value that was tried"
        return text


def best(
    config: Mapping[str, Any], *, outputs: Path, studies: Sequence[str] = ()
) -> tuple[dict[str, Any], str, Search]:
    """Return the best values that a study found for this config, by dotted key, a note about them, and the search.

    The runs of the study differ from ``config`` only in the searched keys and the seed. If several studies match, the
    study with the most trials is used. The values always include ``optimizer.lr``.

    Args:
        studies: names of the studies to compare, of this method and of other methods; empty: all studies.

    Raises:
        KronaError: no study or several studies with equally many trials match this config, or another method had more
            trials in runs of the same length.
    """
    method, task = config["method"]["name"], config["task"]["name"]
    found = sorted(_find_studies(config, outputs, studies), key=lambda study: study.trials)
    fitting = [study for study in reversed(found) if study.method == method and study.fits(config)]
    described = f"{method} on {task} with these settings"
    if not fitting:
        asked = "/".join(["recipe=tuned", *studies])
        text = f"{asked}: there is no search of {described}. Run first: krona tune method={method} task={task} …"
        if other := next((study for study in found if study.method == method), None):
            keys = join_names(first_few(other.differences(config), MAX_KEYS))
            text += f". The study {other.name} is not used, because it had other values of {keys}"
        raise KronaError(text)
    study = fitting[0]
    if len(fitting) > 1 and study.trials == fitting[1].trials:
        each = "; ".join(f"{study.name} ({plural(study.trials, 'trial')}, dev {study.score:.2f})" for study in fitting)
        raise KronaError(
            f"recipe=tuned uses the study with the most trials, but two of the {len(fitting)} studies that match "
            f"{described} have equally many: {each}. To use the first study, write "
            f"recipe=tuned/{study.name}. In a comparison, name one study of each method: recipe=tuned/ONE/ANOTHER"
        )
    others = [other for other in found if other.method != method and other.has_length(config)]
    if others and (most := others[-1]).trials > study.trials:
        raise KronaError(
            f"recipe=tuned: {method} had {plural(study.trials, 'trial')}, but {most.method} had {most.trials}. A fair "
            "comparison needs equal numbers. Run the missing trials: krona tune "
            f"method={method} task={task} … --study {study.name} --trials {most.trials}"
        )
    note = study.note()
    if len(fitting) > 1:
        note += f". Of {len(fitting)} matching studies, it has the most trials"
    if (seed := config["seed"]) in study.study.choosing_seeds:
        note += f". Seed {seed} chose these values, so use other seeds in a comparison"
    return study.values(), note, study.search()


def _without(config: Mapping[str, Any], searched: Iterable[str]) -> dict[str, Any]:
    """Return a config's canonical values, without the seed and the keys that may differ between a search's runs."""
    omitted = [f"{key}." for key in ("seed", "score_test", "method.fit_factors", "optimizer.lr", *searched)]
    return {key: value for key, value in flatten(canonical(config)) if not f"{key}.".startswith(tuple(omitted))}


def _find_studies(config: Mapping[str, Any], outputs: Path, names: Sequence[str]) -> list[StudyBest]:
    """Return the studies (all, or those with these names) of any method with the config's task, data and backbone."""
    files = study_files(outputs)
    method, *names_after = (config[group]["name"] for group in ("method", "task", "backbone"))
    ending = f" {' '.join(names_after)} seed "  # follows the method's name in a study's ``base``
    matching = []
    for name in names or files:
        if name not in files:
            raise KronaError(f"recipe=tuned/{name}: the study does not exist: {did_you_mean(name, files)}")
        study = read_study(files[name])
        if ending not in study.base:  # the study is of another task or backbone
            continue
        if study.best is None or study.best.value is None:
            if study.base.startswith(f"{method}{ending}"):
                study.require_best()
            continue
        best_config = RunFolder(outputs / study.best.run_id).read().config
        groups = ("task", "data", "backbone")
        if all(canonical(best_config[group], group) == canonical(config[group], group) for group in groups):
            matching.append(StudyBest(study, study.best, best_config))
    return matching
