"""TensorBoard through Lightning's logger: ``outputs/tensorboard/<run id>``, so that one TensorBoard shows all runs."""

from collections.abc import Mapping
from typing import Any

from krona.files import remove_below
from krona.trackers.tracker import About, Ending, Value, require
from krona.trackers.values import STEP_LOSS, final_numbers, predictions

PREDICTIONS_SHOWN = 50


class TensorBoard:
    """A TensorBoard run. A resumed run begins its files anew and logs all its epochs again."""

    def __init__(self) -> None:
        self._logger: Any = None

    @staticmethod
    def check(arguments: Mapping[str, Any]) -> None:
        require("tensorboard", logger="tensorboard", extra="tensorboard")

    def open(self, about: About) -> str:
        from pytorch_lightning.loggers import TensorBoardLogger

        self.about = about
        root = about.outputs / "tensorboard"
        remove_below(about.outputs, root / about.run_id)
        self._logger = TensorBoardLogger(root, name="", version=about.run_id, default_hp_metric=False)
        self._logger.experiment.add_text("config", _table(["key", "value"], list(about.config.items())))
        self._logger.experiment.flush()
        return f"tensorboard --logdir {root}"

    def steps(self, losses: Mapping[int, float]) -> None:
        for step, loss in losses.items():
            self._logger.experiment.add_scalar(STEP_LOSS, loss, step)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self._logger.log_metrics(dict(values), step=number)
        self._logger.experiment.flush()

    def end(self, summary: Mapping[str, Value]) -> None:
        self._logger.log_hyperparams(dict(self.about.config), final_numbers(summary))
        columns, rows = predictions(self.about.folder, self.about.label_words, most=PREDICTIONS_SHOWN)
        self._logger.experiment.add_text("test/predictions", _table(columns, rows))

    def close(self, ending: Ending) -> str | None:
        if self._logger is not None:
            self._logger.finalize(ending)
        return None


def _table(columns: list[str], rows: list[Any]) -> str:
    """A Markdown table; a | in a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in lines)
