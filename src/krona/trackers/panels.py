"""Sections and panels of the dashboard as plain data, over the keys of docs/tracking.md."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

KIND = Literal["history", "summary", "config"]


@dataclass(frozen=True)
class Panel:
    """One picture. ``bar`` and ``scatter`` read a run's summary, ``line`` its history over epochs."""

    kind: Literal["line", "scatter", "bar"]
    title: str
    y: str
    x: str = "epoch"
    group: str | None = None  # a config key: one bar or line for each of its values, the mean over runs
    log_x: bool = False

    def needed(self) -> Iterator[tuple[KIND, str]]:
        """The keys that a run must have logged for this panel."""
        where: KIND = "history" if self.kind == "line" else "summary"
        yield where, self.y
        if self.kind != "bar":
            yield where, self.x
        if self.group is not None:
            yield "config", self.group


@dataclass(frozen=True)
class Section:
    """Panels under one heading, over the runs that ``where`` selects, and a table with ``columns``."""

    title: str
    text: str
    panels: tuple[Panel, ...] = ()
    where: str = ""  # in W&B's filter language
    table_by: tuple[str, ...] = ()  # config keys: a row for each combination, the mean over runs
    columns: tuple[str, ...] = ()  # summary keys

    def needed(self) -> Iterator[tuple[KIND, str]]:
        for panel in self.panels:
            yield from panel.needed()
        for key in self.table_by:
            yield "config", key
        for key in self.columns:
            yield "summary", key


SECTIONS = (
    Section(
        "GLUE",
        "Test score by task and method: the mean over seeds. Test is looked at once, at the best dev epoch.",
        (
            Panel("bar", "Test score by method", "test/score", group="method"),
            Panel("bar", "Test score by task", "test/score", group="task"),
        ),
        table_by=("task", "method"),
        columns=("test/score", "dev/best", "params/trainable", "time/train"),
    ),
    Section(
        "Factor shapes",
        "The shape of A decides the rank of the update, from 4 (2x384) to 576 (32x24) on 768 wide layers.",
        (
            Panel("bar", "Dev score by shape of A", "dev/best", group="factors"),
            Panel("bar", "Test score by shape of A", "test/score", group="factors"),
            Panel("line", "Effective rank of the update by shape", "update_rank/mean", group="factors"),
        ),
        where="Config('factors') != 'none'",
        table_by=("factors", "task"),
        columns=("dev/best", "test/score", "params/trainable"),
    ),
    Section(
        "Cost",
        "What a score costs: parameters, seconds of training, memory.",
        (
            Panel("scatter", "Test score against parameters", "test/score", x="params/trainable", log_x=True),
            Panel("scatter", "Test score against training time", "test/score", x="time/train", log_x=True),
            Panel("scatter", "Test score against memory", "test/score", x="memory/host"),
        ),
    ),
    Section(
        "Curves",
        "By epoch; a line is a method's mean, the band its standard deviation over seeds.",
        (
            Panel("line", "Dev score", "dev/score", group="method"),
            Panel("line", "Training loss", "train/loss", group="method"),
            Panel("line", "Learning rate", "train/lr", group="method"),
        ),
    ),
    Section(
        "Gradients and updates",
        "Gradient norms of an epoch's last step before clipping, of A and of B apart; size and rank of the update.",
        (
            Panel("line", "Gradient norm of A", "grad_norm/A", group="method"),
            Panel("line", "Gradient norm of B", "grad_norm/B", group="method"),
            Panel("line", "Norm of the update, mean over layers", "update_norm/mean", group="method"),
            Panel("line", "Effective rank of the update, mean over layers", "update_rank/mean", group="method"),
        ),
    ),
)
FAILED = Section(
    "Failed runs",
    "Runs that did not reach their end; the trace is in train.log in the run's folder.",
    where="State in ['failed', 'crashed', 'killed']",
)
