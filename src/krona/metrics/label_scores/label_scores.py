"""The local `evaluate` metric, which computes scores (0-100) from label strings.

`evaluate.load` copies this file and imports the copy. The metrics are therefore implemented in `krona.metrics.scores`.
The features are strings, because a model can generate text that is not a label.
"""

import datasets
import evaluate

from krona.metrics.scores import METRICS, score

DESCRIPTION = f"{', '.join(METRICS)} of label strings, from 0 to 100."


class LabelScores(evaluate.Metric):  # type: ignore[misc]
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description="predictions, references: strings. metrics: names. labels: all target strings, or None.",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(
        self, predictions: list[str], references: list[str], metrics: list[str], labels: list[str] | None
    ) -> dict[str, float]:
        return score(metrics, references, predictions, labels)
