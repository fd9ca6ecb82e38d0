"""What predicted texts mean: the words of a task's labels, and which predictions are none of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from krona.metrics.scores import NUMBER
from krona.results import Result, unpack_outcomes


def label_words(task: Mapping[str, Any]) -> dict[str, str]:
    """Target text → the label's word, in the order of the ids, from a config's task; empty for a regression."""
    labels = task.get("labels")
    if labels is None:
        return {}
    named = labels if isinstance(labels, Mapping) else {word: i for i, word in enumerate(labels)}
    return {str(i): str(word) for word, i in sorted(named.items(), key=lambda item: int(item[1]))}


def in_words(text: str, words: Mapping[str, str]) -> str:
    """``entailment`` for "0"; a text that is no label stands in quotes. Without words, a regression: as it is."""
    text = text.strip()
    if not words:
        return text if NUMBER.fullmatch(text) else f"{text!r} (no number)"
    return words.get(text, f"{text!r} (no label)")


def without_label(predictions: Sequence[str], task: Mapping[str, Any]) -> list[str]:
    """The predictions that are no label of the task, or no number where it is a regression."""
    words = label_words(task)
    texts = [text.strip() for text in predictions]
    return [text for text in texts if (text not in words if words else not NUMBER.fullmatch(text))]


def no_label_line(result: Result) -> str | None:
    """Where most predictions are no label: how many, and what to try. None where that is not so."""
    split = "test" if result.test else "dev"
    part = result.test or result.dev
    if part is None or not part.get("outcomes"):
        return None
    task = result.config["task"]
    _, predictions = unpack_outcomes(part["outcomes"])
    wrong = without_label(predictions, task)
    if 2 * len(wrong) <= len(predictions):
        return None
    ((commonest, times),) = Counter(wrong).most_common(1)
    kind = f"label of {result.task} ({', '.join(label_words(task))})" if task.get("labels") else "number"
    optimizer = result.config["optimizer"]
    said = (
        f"{len(wrong):,} of {len(predictions):,} {split} predictions are no {kind} and count as wrong ({times:,} are "
        f"{commonest[:40]!r})"
    )
    if not result.trainable_params:
        return f"{said}: nothing was trained to answer"
    return (
        f"{said}. It has not learned how to answer: try a higher optimizer.lr (now {optimizer['lr']:g}), more "
        f"trainer.max_epochs (now {result.config['trainer']['max_epochs']}) or fewer optimizer.warmup_steps "
        f"(now {optimizer['warmup_steps']})"
    )
