"""TensorBoard: ``outputs/tensorboard/<run id>``, so that one TensorBoard shows all runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from krona.files import remove_below
from krona.trackers.lightning import LightningTracker
from krona.trackers.tracker import Value, require
from krona.trackers.values import PREDICTION_COLUMNS, numbers, read_predictions

MAX_PREDICTIONS = 50


class TensorBoard(LightningTracker):
    """A TensorBoard run. A resumed run starts its files again and logs all its epochs."""

    @staticmethod
    def check(arguments: Mapping[str, Any]) -> None:
        require("tensorboard", logger="tensorboard", extra="tensorboard")

    def start(self) -> str:
        from pytorch_lightning.loggers import TensorBoardLogger

        root = self.about.outputs / "tensorboard"
        remove_below(self.about.outputs, root / self.about.run_id)
        self.logger = TensorBoardLogger(root, name="", version=self.about.run_id, default_hp_metric=False)
        return f"tensorboard --logdir {root}"

    def log_config(self, config: dict[str, Value]) -> None:
        self.logger.experiment.add_text("config", _format_table(["key", "value"], list(config.items())))

    def end(self, summary: Mapping[str, Value]) -> None:
        self.logger.log_hyperparams(dict(self.about.config), numbers(summary))
        rows = read_predictions(self.about, most=MAX_PREDICTIONS)
        self.logger.experiment.add_text("test/predictions", _format_table(PREDICTION_COLUMNS, rows))


def _format_table(columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in lines)
