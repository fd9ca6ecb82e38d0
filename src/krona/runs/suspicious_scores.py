"""Find scores that may be meaningless, because of collapsed runs, invalid predictions or skipped rows."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from krona.messages import KronaError, join_names, shorten
from krona.metrics.compare_methods import Sample, compare, mean_score, row_contributions
from krona.metrics.scores.metric import Answers
from krona.runs.predictions import (
    SPLITS,
    Outcomes,
    invalid_predictions,
    label_text,
    label_words,
    read_outcomes,
    score_metrics,
)
from krona.runs.result import PREDICTIONS, Result

SIGN = "!"  # marks a score with a warning in every output format
MAX_INVALID_SHARE = 0.1  # if a larger share of the predictions are not a label, a warning is shown
INVALID = f"more than {100 * MAX_INVALID_SHARE:.0f} % invalid predictions"
SKIPPED = "skipped rows"
MAX_SKIPPED_SHARE = 0.01  # if a larger share of a split's rows is skipped, a warning is shown


@dataclass(frozen=True)
class ScoreMessage:
    """A message about a score."""

    text: str  # without a final full stop
    warns: bool = True  # the message is a warning, and tables mark the score
    collapsed: bool = False  # `is_collapsed`, so that longer training may help
    # The kind of message. Tables group the messages of many rows by it.
    cause: str = field(default="", compare=False, kw_only=True)

    @property
    def invalid(self) -> bool:
        """Whether more than `MAX_INVALID_SHARE` of the predictions are not a label, or not a number."""
        return self.cause == INVALID


Examined = tuple[dict[str, Answers], dict[str, list[ScoreMessage]]]


def find_messages(result: Result, outcomes: Mapping[str, Outcomes], split: str) -> list[ScoreMessage]:
    """Return the messages about a finished run's score on ``split``."""
    messages = [*_check_skipped_rows(result)]
    if result.head_params and result.best_epoch == 0:
        text = "the new head was not trained, so the score belongs to a head with random weights"
        messages.append(ScoreMessage(text, cause="the new head was not trained"))
    if split in outcomes:
        messages += _check_predictions(result, outcomes[split], split)
    return messages


def examine_scores(result: Result, folder: Path) -> Examined:
    """Return the answers of a finished run and the messages about its scores, both by split.

    If the predictions are missing or damaged, return no answers, and a message with the reason.
    """
    outcomes: dict[str, Outcomes] = {}
    lacking = []
    try:
        outcomes = read_outcomes(result, folder / PREDICTIONS)
        if not outcomes:
            text = f"{PREDICTIONS} was not found, so there are no intervals and tests"
            lacking = [ScoreMessage(text, warns=False, cause="no predictions")]
    except KronaError as error:
        lacking = [ScoreMessage(str(error), cause="unusable predictions")]
    answers = {split: outcome.answers for split, outcome in outcomes.items()}
    return answers, {split: lacking + find_messages(result, outcomes, split) for split in SPLITS}


def message_lines(result: Result, messages: Mapping[str, Sequence[ScoreMessage]]) -> list[str]:
    """Return the messages about a run, one per line. A warning begins with ``!``. The last line may give advice.

    ``messages`` contains the messages by split, as `examine_scores` returns them.
    """
    found = messages["test" if result.test else "dev"]
    lines = [f"{SIGN} {message.text}" if message.warns else message.text for message in found]
    if any(message.collapsed for message in found):
        lines[-1] += f". {advice(result)}"
    return lines


def advice(result: Result) -> str:
    """Recommend changes to the settings of a run that did not learn its task."""
    if not result.trainable_params and not result.head_params:
        return "No parameters were trained"
    trainer, optimizer = result.config["trainer"], result.config["optimizer"]
    steps = trainer.get("max_steps", -1)
    length = f"trainer.max_epochs (now {trainer['max_epochs']})"
    if steps >= 0:
        length = f"trainer.max_steps (now {steps})"
    return (
        f"The model did not learn the task. Try a higher optimizer.lr (now {optimizer['lr']:g}), more {length} or "
        f"fewer optimizer.warmup_steps (now {optimizer['warmup_steps']})"
    )


def constant_answers(answers: Answers) -> list[Answers]:
    """Return the answers of models that always predict the same: one model for each label.

    In a multi-label task, the predictions are all labels, no label, and the most frequent target. In a regression, the
    number does not matter, because a constant has no correlation with the targets.
    """
    if not answers.classes:
        return [replace(answers, predictions=np.zeros(len(answers)))]
    if answers.is_multilabel:
        sets, counts = np.unique(answers.targets, axis=0, return_counts=True)
        constants = (np.ones_like(sets[0]), np.zeros_like(sets[0]), sets[counts.argmax()])
        return [replace(answers, predictions=np.tile(labels, (len(answers), 1))) for labels in constants]
    shape = (len(answers), answers.classes)
    return [
        replace(
            answers,
            predictions=np.full(len(answers), label),
            probabilities=np.broadcast_to(np.eye(answers.classes)[label], shape),
        )
        for label in range(answers.classes)
    ]


def best_constant(answers: Answers, metrics: Sequence[str]) -> tuple[Answers, float]:
    """Return the constant answers with the best score, and this score."""
    scored = [(one, mean_score(one, metrics)) for one in constant_answers(answers)]
    return max(scored, key=lambda pair: pair[1])


def is_collapsed(answers: Answers, metrics: Sequence[str]) -> bool:
    """Return whether the score of a run is not significantly above that of the best constant answer (5 % level)."""
    if answers.units < 2:
        return True  # a test is not possible
    run, constant = row_contributions([answers, best_constant(answers, metrics)[0]], metrics)
    return compare(Sample(run[None]), Sample(constant[None])).interval[0] <= 0


def _check_predictions(result: Result, outcomes: Outcomes, split: str) -> Iterator[ScoreMessage]:
    answers, metrics = outcomes.answers, score_metrics(result.config["task"])
    task, count, given = result.config["task"], len(answers), answers.predictions
    invalid = invalid_predictions(outcomes.predictions, task) if given.min() < 0 else []
    texts = [text.strip() for text in outcomes.predictions]
    values = {*texts} - {*invalid} if answers.classes else {f"{value:.1f}" for value in np.round(given, 1) + 0.0}
    collapsed, (_, best) = is_collapsed(answers, metrics), best_constant(answers, metrics)
    constant = f"The best constant prediction would score {best:.2f}"
    if len(invalid) > MAX_INVALID_SHARE * count:
        ((commonest, times),) = Counter(invalid).most_common(1)
        words = shorten(", ".join(label_words(task)), 200)
        kind = f"label of {result.task} ({words})" if task.get("labels") else "number"
        verbs = ("is", "counts") if len(invalid) == 1 else ("are", "count")
        problem = f"{verbs[0]} not a {kind} and {verbs[1]} as wrong (most frequent: {times:,} × {commonest[:40]!r})"
        text = f"{len(invalid):,} of {count:,} {split} predictions {problem}. {constant}"
        yield ScoreMessage(text, collapsed=collapsed, cause=INVALID)
    elif len(values) == 1:
        (value,) = values
        share = f"{count - len(invalid):,} of {count:,}" if invalid else f"all {count:,}"
        text = f"{share} {split} predictions are {_label_name(value, task)}. {constant}"
        yield ScoreMessage(text, collapsed=collapsed, cause="the same prediction for all rows")
    elif collapsed:
        text = f"the {split} score is not significantly above {best:.2f}, the score of the best constant prediction"
        yield ScoreMessage(text, collapsed=True, cause="not significantly above the best constant prediction")


def _check_skipped_rows(result: Result) -> Iterator[ScoreMessage]:
    """Yield a message if ``data.skip_bad_rows`` left out more than `MAX_SKIPPED_SHARE` of a split's rows."""
    skipped = {name: split["skipped_rows"] for name, split in result.splits.items() if split.get("skipped_rows")}
    shares = {name: rows / (rows + result.splits[name]["rows"]) for name, rows in skipped.items()}
    if max(shares.values(), default=0) > MAX_SKIPPED_SHARE:
        counts = join_names([f"{rows:,} rows of {name} ({100 * shares[name]:.3g} %)" for name, rows in skipped.items()])
        yield ScoreMessage(f"data.skip_bad_rows left out {counts}", cause=SKIPPED)


def _label_name(text: str, task: Mapping[str, Any]) -> str:
    """Return a target with its label's name, such as ``"1" (equivalent)``. A number is returned unchanged."""
    words = label_words(task)
    if not words:
        return text
    word = label_text(text, task) or text
    return f'"{text}"' if text == word else f'"{text}" ({word})'
