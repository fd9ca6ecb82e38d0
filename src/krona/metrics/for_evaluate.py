"""krona's metrics as a module of `evaluate`: ``evaluate.load(krona.metrics.for_evaluate.__file__, "matthews")``."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from krona.metrics.scores import score


class ForEvaluate(evaluate.Metric):  # type: ignore[misc]
    """A metric of krona. Its name is the configuration's name."""

    def _info(self) -> Any:
        texts = {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
        return evaluate.MetricInfo(
            description="A metric of krona, from 0 to 100, or from -100 to 100 for a correlation.",
            citation="",
            inputs_description="predictions, references: texts. labels: all classes in their order; None: numbers. "
            "groups: the group of each row, for exact_match; None: each row is its own group. "
            "scores: the probabilities of each row in the order of the labels, for metrics such as roc_auc. "
            "multilabel: whether a text contains several labels, separated by blanks.",
            features=datasets.Features(texts),
        )

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[str],
        labels: Sequence[str] | None = None,
        groups: Sequence[int] | None = None,
        scores: Sequence[Sequence[float]] | None = None,
        multilabel: bool = False,
    ) -> dict[str, float]:
        return score([self.config_name], references, predictions, labels, groups, scores, multilabel=multilabel)
