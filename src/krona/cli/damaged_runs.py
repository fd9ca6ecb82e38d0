"""Find damaged results and adapters, and files that a finished run lacks."""

import os
from collections.abc import Iterator

from krona.formatting import below
from krona.messages import KronaError, join_names, shorten
from krona.runs.folder import RunFolder
from krona.runs.predictions import check_answers
from krona.runs.result import CHECKSUMS, Result


def examine(run: RunFolder) -> tuple[Result | None, list[str]]:
    """Return a run's result and the run's problems. The result is None if it is missing or damaged."""
    try:
        if not os.path.lexists(run.result):
            return None, []
        if not run.result.is_file():
            return None, [f"{below(run.result)} is not a regular file"]
        result = run.read()
        check_answers(result, run.result)
        return result, list(_find_lost_files(run, result))
    except KronaError as error:
        return None, [shorten(error, 300)]
    except Exception as error:  # a damaged file can raise any error
        return None, [f"{below(run.result)} is not a result: {type(error).__name__}: {shorten(error, 200)}"]


def _find_lost_files(run: RunFolder, result: Result) -> Iterator[str]:
    if result.status != "done":
        return
    trains = bool(result.trainable_params or result.head_params)
    recorded = result.provenance.get(CHECKSUMS) or {}  # missing in results of earlier versions
    may_lack_weights = result.config["method"].get("train_backbone") and result.config.get("keep") != "all"
    keeps_weights = trains and (not may_lack_weights or run.adapter.name in recorded)
    files = [run.predictions, *([run.adapter] if keeps_weights else [])]
    if lost := [file.name for file in files if not file.is_file() or not file.stat().st_size]:
        yield f"{below(run.path)} is done, but has no complete {join_names(lost)}"
    if run.adapter.is_file() and run.adapter.name not in lost:
        from safetensors import safe_open

        try:
            with safe_open(run.adapter, framework="numpy"):  # compares the header with the size of the file
                pass
        except Exception as error:  # safetensors has its own exceptions
            yield f"{below(run.adapter)} can't be read: {shorten(error, 200)}"
