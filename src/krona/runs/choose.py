"""Choose the runs of a command: the given names, or the best run of a sweep (`--best SWEEP`)."""

import sys
from collections.abc import Sequence

from krona import paths
from krona.messages import KronaError, did_you_mean, first_few, plural
from krona.runs.frame import stored_results
from krona.runs.result import Result
from krona.runs.sweep import load_run_ids

MAX_LISTED = 10  # maximum number of runs in a message


def choose_runs(runs: Sequence[str] | None, best: str | None) -> list[str]:
    """Return the runs of a command: the given names, or the run of the sweep ``best`` with the highest dev score.

    Raises:
        KronaError: neither or both are given, or the sweep has no finished run or runs of several tasks.
    """
    if runs and best is not None:
        raise KronaError(f"{' '.join(runs)} and --best {best} are two choices. Give only one of them.")
    if runs:
        return [*runs]
    done = [
        run for run in stored_results(paths.OUTPUTS) if isinstance(run, Result) and run.status == "done" and run.dev
    ]
    if best is None:
        newest = sorted(done, key=lambda run: str(run.provenance.get("finished")), reverse=True)
        listed = first_few([run.run_id for run in newest], MAX_LISTED)
        known = f"The finished runs are: {', '.join(listed)}." if listed else f"{paths.OUTPUTS} has no finished run."
        raise KronaError(f"No run was given. Give the beginning of a run's id, or --best SWEEP. {known}")
    names = load_run_ids(paths.OUTPUTS, best)
    of_sweep = [run for run in done if run.config.get("sweep") == best or run.run_id in names]
    if not of_sweep:
        sweeps = sorted({str(run.config["sweep"]) for run in done if run.config.get("sweep")})
        known = f": {did_you_mean(best, sweeps)}." if sweeps else ". No sweep has a finished run."
        raise KronaError(f"No finished run belongs to a sweep {best}{known}")
    if len(tasks := sorted({run.task for run in of_sweep})) > 1:
        raise KronaError(f"The sweep {best} has runs of several tasks ({', '.join(tasks)}). Give the name of a run.")
    of_sweep.sort(key=lambda run: str(run.provenance.get("finished")))  # a later run does not replace one of a tie
    scores = {run.run_id: run.dev["score"] for run in of_sweep if run.dev}
    unfinished = len(names.difference(scores))
    more = f" ({plural(unfinished, 'run')} not finished)" if unfinished else ""
    top = max(scores.values())
    first, *tied = [run for run, score in scores.items() if score == top]
    others = f", tied with {', '.join(first_few(tied, MAX_LISTED))}" if tied else ""
    count = plural(len(scores), "run")
    print(f"The best of {count} of {best}{more} on dev is {first} ({top:.2f}){others}.", file=sys.stderr)
    return [first]
