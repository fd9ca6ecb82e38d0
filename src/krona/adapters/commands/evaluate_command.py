"""`krona evaluate` as typed: its arguments sorted, its lines printed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from krona.adapters.commands import submission
from krona.adapters.commands.evaluate import BATCH_SIZE, lines
from krona.adapters.commands.evaluate import evaluate as score
from krona.adapters.find import find
from krona.messages import KronaError
from krona.outputs.output_file import require_new
from krona.screen import say


def evaluate(
    runs: Sequence[str],
    *,
    data: str | None,
    output: Path | None,
    submission_to: Path | None,
    backbone: str | None,
    batch_size: int | None,
    overwrite: bool,
    outputs: Path,
    console: Console,
    **rows: Any,
) -> None:
    """Score each run, or write the submission of all; ``rows``: further arguments of `evaluate`."""
    overrides = [item for item in runs if "=" in item]
    found = [find(run, outputs=outputs) for run in runs if "=" not in run]
    if submission_to is not None:
        if data is None:
            raise KronaError("--submission needs GLUE's test sets: --data FOLDER of the GLUE download")
        sheets = submission.submission(
            found,
            Path(data),
            submission_to,
            overwrite=overwrite,
            backbone=backbone,
            batch_size=batch_size or BATCH_SIZE,
        )
        for line in submission.lines(sheets, submission_to):
            say(console, line)
        return
    if output is not None:
        require_new(output, overwrite=overwrite)
    if output is not None and len(found) > 1:
        raise KronaError("--output: one run at a time")
    for one in found:
        evaluation = score(
            one, data=data, output=output, overrides=overrides, backbone=backbone, batch_size=batch_size, **rows
        )
        for line in lines(evaluation):
            say(console, line)
