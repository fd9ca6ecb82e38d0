"""GLUE's test sets as Table 1 has them: examples, metric, and the score that a power is computed at."""

from collections.abc import Sequence
from statistics import median

from krona.messages import KronaError, did_you_mean
from krona.metrics.power import Errors
from krona.paper import TASKS, read_paper_table

# The test sets of data.protocol=table1 (docs/fidelity.md, Data). Positive: of the whole validation set.
TEST_SETS = {
    "cola": Errors("matthews", 522, positive=721 / 1043),
    "rte": Errors("accuracy", 139),
    "mrpc": Errors("f1", 204, positive=279 / 408),
    "sst2": Errors("accuracy", 872),
    "stsb": Errors("correlation", 750),
    "mnli": Errors("accuracy", 9815),
    "qnli": Errors("accuracy", 5463),
    "qqp": Errors("accuracy", 40430),
}
MNLI_DEV = Errors("accuracy", 9832)  # Table 9 prints best dev scores


def usual_score(task: str) -> float:
    """The median of Table 1's methods on a task of GLUE."""
    return median(row[task] for row in read_paper_table("1").rows.values())


def chosen(tasks: Sequence[str], *, examples: int | None, score: float | None) -> dict[str, tuple[Errors, float]]:
    """Test set and score of each task; all of GLUE where none is named.

    Another task than GLUE's needs ``examples`` and ``score`` and counts as accuracy. Raises KronaError.
    """
    names = [name for text in tasks for name in text.split(",") if name] or list(TASKS)
    if (examples is not None or score is not None) and len(names) != 1:
        raise KronaError("--examples and --score are of one task: name it with --task")
    found = {}
    for name in names:
        if name not in TEST_SETS and (examples is None or score is None):
            raise KronaError(
                f"--task {name}: {did_you_mean(name, TASKS)}; for a task of your own with accuracy as its score, give "
                "--examples (of its test set) and --score (near which the methods are)"
            )
        known = TEST_SETS.get(name, Errors("accuracy", 0))
        errors = Errors(known.metric, examples or known.examples, known.positive)
        at = usual_score(name) if score is None else score
        if not 0 < at < 100 or (errors.counts and errors.share_wrong(at) > 1):
            raise KronaError(f"--score {at:g}: a score of {name} ({errors.metric}) here is below 100 and above chance")
        found[name] = errors, at
    return found
