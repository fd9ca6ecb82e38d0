"""Remarks on scores that may mean nothing: constant predictions, invalid predictions, rows that were left out."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from krona.messages import amount, listed
from krona.metrics.answers import Answers
from krona.metrics.scores import score_by_sums
from krona.runs.predictions import encoded, invalid_predictions, label_words, metrics_of
from krona.runs.result import Result, unpack_outcomes

SIGN = "!"  # beside a score with a warning, in every format
MAX_INVALID_SHARE = 0.1  # a warning if more predictions are not a label
MAX_SKIPPED_SHARE = 0.01  # a warning if more rows of a source were left out
TOLERANCE = 1e-6  # points


@dataclass(frozen=True)
class Remark:
    """What a reader of a score should know.

    Args:
        warns: the score is marked.
        unlearned: longer training may help.
    """

    text: str
    warns: bool = True
    unlearned: bool = False


def remarks(result: Result, answers: Mapping[str, Answers], split: str) -> list[Remark]:
    """Return the remarks on a finished run's score on ``split``.

    Args:
        result: with its outcomes and all of its curve.
        answers: its predictions as numbers, by split.
    """
    found = [*_of_training_rows(result), *_of_rows_left_out(result)]
    if result.head_params and result.best_epoch == 0:
        found.append(Remark("the new head was not trained: this is the score of a random head, not of the backbone"))
    if split in answers:
        found += _of_predictions(result, answers[split], split)
    if "dev" in answers:
        found += _of_curve(result, answers["dev"])
    return found


def constant_scores(answers: Answers, metrics: Sequence[str]) -> list[float]:
    """Return the score of each label as the only prediction; for a regression 0, as a constant has no correlation."""
    if not answers.classes:
        return [0.0]
    scores = []
    for label in range(answers.classes):
        constant = Answers(answers.truth, np.full(len(answers), label), answers.classes)
        scores.append(float(np.mean([*score_by_sums(metrics, constant).values()])))
    return scores


def lines(result: Result) -> list[str]:
    """Return the remarks after a run and what to try. Warnings begin with the sign."""
    answers = encoded(result)
    found = remarks(result, answers, "test" if "test" in answers else "dev")
    said = [f"{SIGN} {remark.text}" if remark.warns else remark.text for remark in found]
    one_class = any(_of_training_rows(result))  # longer training would not help
    if any(remark.unlearned for remark in found) and not one_class:
        said[-1] += f". {advice(result)}"
    return said


def advice(result: Result) -> str:
    """Return what to try after a run that did not learn."""
    if not result.trainable_params and not result.head_params:
        return "Nothing was trained to answer"
    trainer, optimizer = result.config["trainer"], result.config["optimizer"]
    epochs, steps = trainer["max_epochs"], trainer.get("max_steps", -1)
    rows = result.splits.get("train", {}).get("rows", 0)
    of_epochs = epochs * math.ceil(rows / result.config["batch_size"])
    longer = [f"trainer.max_steps (now {steps})"] if 0 <= steps <= of_epochs else []
    longer += [f"trainer.max_epochs (now {epochs})"] if steps < 0 or of_epochs <= steps else []
    return (
        f"It has not learned how to answer: try a higher optimizer.lr (now {optimizer['lr']:g}), more "
        f"{' and '.join(longer)} or fewer optimizer.warmup_steps (now {optimizer['warmup_steps']})"
    )


def _of_predictions(result: Result, answers: Answers, split: str) -> Iterator[Remark]:
    task, count, given = result.config["task"], len(answers), answers.given
    wrong = invalid_predictions(_texts(result, split), task) if given.min() < 0 else []
    if len(wrong) > MAX_INVALID_SHARE * count:
        ((commonest, times),) = Counter(wrong).most_common(1)
        kind = f"label of {result.task} ({', '.join(label_words(task))})" if task.get("labels") else "number"
        found = f"are no {kind} and count as wrong ({times:,} are {commonest[:40]!r})"
        which, unlearned = f"{len(wrong):,} of {count:,}", 2 * len(wrong) > count
    else:
        values = given[given >= 0] if answers.classes else np.round(given, 1)
        if values.min() < values.max():
            return
        value = list(label_words(task))[int(values[0])] if answers.classes else f"{values[0]:.1f}"
        found, unlearned = f"are {_named(value, task)}", True
        which = f"{count - len(wrong):,} of {count:,}" if wrong else f"all {count:,}"
    best = max(constant_scores(answers, metrics_of(task)))
    text = f"{which} {split} predictions {found}; the best constant prediction scores {best:.2f}"
    yield Remark(text, unlearned=unlearned)


def _of_curve(result: Result, dev: Answers) -> Iterator[Remark]:
    """Yield a remark if the dev score never differed from that of a constant prediction."""
    scores = [row["score"] for row in result.dev_curve if row.get("score") is not None]
    if len({round(score, 6) for score in scores}) > max(1, dev.classes) or len(scores) < 2:
        return
    constant = constant_scores(dev, metrics_of(result.config["task"]))
    if all(min(abs(score - one) for one in constant) < TOLERANCE for score in scores):
        values = " or ".join(f"{score:.2f}" for score in sorted({round(score, 2) for score in scores}))
        yield Remark(
            f"in all {len(scores)} epochs the dev score was that of a constant prediction ({values})", unlearned=True
        )


def _of_training_rows(result: Result) -> Iterator[Remark]:
    train = result.splits.get("train", {})
    targets: Mapping[str, int] = train.get("targets") or {}
    if len(targets) == 1:
        (target,) = targets
        named = _named(target, result.config["task"])
        yield Remark(f"all training rows ({train['rows']:,}) have the target {named}")


def _of_rows_left_out(result: Result) -> Iterator[Remark]:
    """Yield one remark for each source. Splits with the same faults come from one source."""
    sources: dict[str, list[str]] = {}
    for name, split in result.splits.items():
        if split.get("skipped_rows"):
            sources.setdefault(json.dumps(split.get("skipped") or name), []).append(name)
    for names in sources.values():
        skipped = result.splits[names[0]]["skipped_rows"]
        faults = [f"{one['rows']:,} {one['kind']}" for one in result.splits[names[0]].get("skipped") or []]
        share = _share(result, names, skipped)
        shown = [*([f"{100 * share:.3g} %"] if share is not None else []), *faults]
        why = f" ({', '.join(shown)})" if shown else ""
        text = f"{amount(skipped, 'row')} of {listed(names)} left out by data.skip_bad_rows{why}"
        yield Remark(text, warns=share is None or share > MAX_SKIPPED_SHARE)


def _share(result: Result, names: Sequence[str], skipped: int) -> float | None:
    """Return the share of a source's rows that was left out; None if data.train_rows hides how many there were."""
    kept = sum(result.splits[name]["rows"] for name in names)
    if "train" in names and result.config.get("data", {}).get("train_rows") is not None:
        counted: Mapping[str, Sequence[int]] = result.provenance.get("official_rows") or {}
        if "train" not in counted:
            return None
        kept = counted["train"][0]
    return float(skipped / (skipped + kept))


def _texts(result: Result, split: str) -> list[str]:
    return unpack_outcomes(getattr(result, split)["outcomes"])[1]


def _named(text: str, task: Mapping[str, Any]) -> str:
    """Return ``"1" (equivalent)`` for a label's text, ``2.5`` for a number."""
    words = label_words(task)
    word = words.get(text, text)
    return text if not words else f'"{text}"' if text == word else f'"{text}" ({word})'
