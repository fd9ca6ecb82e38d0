"""Scores from target and predicted strings, in 0-100; what a wrong string counts as (docs/fidelity.md, Data).

Accuracy and F1: a prediction that is no label counts as the label that is not the target; with more than two
classes it is simply wrong. Matthews: all such predictions are one class of their own. Pearson and Spearman: a
prediction that is no number counts as -1. A constant has no correlation: 0.

scikit-learn and SciPy are imported inside: the report reads METRICS without waiting for them.
"""

import math
import re
import warnings
from collections.abc import Sequence

CLASS_METRICS = ("accuracy", "f1", "macro_f1", "matthews")
NUMBER_METRICS = ("pearson", "spearman")
METRICS = CLASS_METRICS + NUMBER_METRICS

INVALID = "<no label>"  # no label is written so: labels are numbers
UNPARSABLE = -1.0
# float() also takes "nan", "inf", "1_0" and "1e999".
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


def score(
    metrics: Sequence[str],
    targets: Sequence[str],
    predictions: Sequence[str],
    labels: Sequence[str] | None,
) -> dict[str, float]:
    """Every metric of `metrics` in 0-100 (correlations: -100 to 100).

    labels: all target strings in the order of their ids; the second of two is F1's positive class. None for a
    regression. Raises ValueError for an unknown metric, unequal lengths and no rows.
    """
    if len(targets) != len(predictions):
        raise ValueError(f"{len(targets)} targets and {len(predictions)} predictions")
    if not targets:
        raise ValueError("no rows to score")
    truth = [text.strip() for text in targets]
    answers = [text.strip() for text in predictions]
    return {name: 100.0 * _one(name, truth, answers, labels) for name in metrics}


def _one(name: str, truth: list[str], answers: list[str], labels: Sequence[str] | None) -> float:
    if name in NUMBER_METRICS:
        return _correlation(name, [_number(t) for t in truth], [_number(a) for a in answers])
    if name not in CLASS_METRICS:
        raise ValueError(f"unknown metric '{name}': choose from {', '.join(METRICS)}")
    if labels is None:
        raise ValueError(f"'{name}' needs the labels, and a regression has none")
    known = set(labels)
    valid = [a if a in known else INVALID for a in answers]
    if name == "matthews":
        return _matthews(truth, valid)
    if len(labels) == 2:
        other = {labels[0]: labels[1], labels[1]: labels[0]}
        valid = [other[t] if a == INVALID else a for t, a in zip(truth, valid, strict=True)]
    if name == "accuracy":
        return sum(t == a for t, a in zip(truth, valid, strict=True)) / len(truth)
    return _f1(truth, valid, labels, macro=name == "macro_f1")


def _f1(truth: list[str], valid: list[str], labels: Sequence[str], *, macro: bool) -> float:
    from sklearn.metrics import f1_score

    if macro:
        # Classes that neither side ever names would count as 0; INVALID is no class to be right about.
        seen = [name for name in labels if name in truth or name in valid]
        return float(f1_score(truth, valid, labels=seen, average="macro", zero_division=0.0))
    if len(labels) != 2:
        raise ValueError(f"'f1' is for two classes, here are {len(labels)}: macro_f1")
    return float(f1_score(truth, valid, labels=list(labels), pos_label=labels[1], zero_division=0.0))


def _matthews(truth: list[str], valid: list[str]) -> float:
    from sklearn.metrics import matthews_corrcoef

    if len(set(truth)) == 1 or len(set(valid)) == 1:
        return 0.0
    return float(matthews_corrcoef(truth, valid))


def _correlation(name: str, truth: list[float], answers: list[float]) -> float:
    from scipy import stats

    if len(set(truth)) == 1 or len(set(answers)) == 1:
        return 0.0
    measure = stats.pearsonr if name == "pearson" else stats.spearmanr
    with warnings.catch_warnings():
        # SciPy's note that numbers as near as 1e20 and 1e20 + 20000 correlate inexactly; they are wrong anyway.
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return float(measure(truth, answers).statistic)


def _number(text: str) -> float:
    # Digits without end make inf, and a square of 1e200 overflows: neither is an answer.
    number = float(text) if NUMBER.fullmatch(text) else math.inf
    return number if abs(number) < 1e100 else UNPARSABLE
