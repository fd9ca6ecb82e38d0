"""`krona diff A B`: compare two runs, or two methods task by task."""

from pathlib import Path

from krona.messages import KronaError
from krona.report.diff.methods import MethodDiff, diff_methods
from krona.report.diff.runs import RunDiff, diff_runs
from krona.runs.folder import find_run
from krona.runs.index import summaries
from krona.runs.result import Result


def compare(outputs: Path, a: str, b: str) -> RunDiff | MethodDiff:
    """Compare two methods, if both names are methods of runs under ``outputs``; otherwise two runs.

    Raise KronaError for a name that is neither, for one of each, and for a beginning that fits several runs.
    """
    methods = {found.method for found in summaries(outputs) if isinstance(found, Result)}
    known = [name in methods for name in (a, b)]
    if all(known):
        return diff_methods(outputs, a, b)
    if any(known):
        method, other = (a, b) if known[0] else (b, a)
        if not any(outputs.glob(f"{other}*/result.json")) and not Path(other).exists():
            raise KronaError(
                f"no finished run of method {other!r} under {outputs}, only of {method!r}: nothing to compare"
            )
        raise KronaError(f"{method!r} is a method and {other!r} a run: name two runs, or two methods")
    return diff_runs(find_run(outputs, a).path, find_run(outputs, b).path)
