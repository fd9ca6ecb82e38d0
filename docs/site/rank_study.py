"""Generate the tables of docs/claims.md on the rank of an update, from the scores of scripts/real_scores.py.

All updates have about as many parameters as LoRA of rank 1. Several updates are of one family, for example KronA with
seven shapes, so they are not independent. The correlations therefore compare either the updates within each family, or
the means of the families. With MPNet, only six updates were trained. All pairs of them are tested.
"""

from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from encoder_scores import SCORES, Method, block_methods, format_p, pair_tests, spread, test_table
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
NARROW, WIDE = "minilm_ranks", "mpnet_ranks"  # blocks of scripts/real_scores.py
PERMUTATIONS = 100_000
PREFIX = "rank_"  # of the labels of updates


@dataclass(frozen=True)
class Updates:
    """The updates of the study, one value for each.

    Args:
        families: for example KronA for each of its shapes.
        ranks: the highest possible rank of the update.
        norms: the Frobenius norm of the whole update after training.
        scores: the mean score over the seeds, from the name of a split.
    """

    families: list[str]
    ranks: Floats
    norms: Floats
    scores: dict[str, Floats]


def updates() -> list[str]:
    """Return the scores of the updates of MiniLM on SST-2, in ascending order of their rank."""
    return _table(NARROW)


def wide_updates() -> list[str]:
    """Return the scores of the updates of MPNet on CoLA, in ascending order of their rank."""
    return _table(WIDE)


def _table(block: str) -> list[str]:
    lines = [
        "| update | trained | rank | effective rank | norm | rate | dev | test |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    methods = block_methods(block)
    for label in sorted(methods, key=lambda label: (methods[label].runs[0]["rank"] or 0, label)):
        method = methods[label]
        run = method.runs[0]
        size = "– | – | –"
        if label.startswith(PREFIX):
            size = f"{run['rank']} | {_learned(method, 'effective_rank'):.0f} | {_learned(method, 'norm'):.1f}"
        cells = [
            f"`{label.removeprefix(PREFIX)}`",
            f"{run['trainable']:,}",
            size,
            f"{run['lr']:g}",
            *(spread(method.scores(split)) for split in ("dev", "test")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _learned(method: Method, key: str) -> float:
    """Return the mean over the seeds of a value that describes the trained update."""
    return mean(run["update"][key] for run in method.runs)


def wide_comparisons() -> list[str]:
    """Return the tests of all pairs of updates of MPNet on CoLA."""
    tests = []
    for names, difference, of_runs in pair_tests(block_methods(WIDE), SCORES["cola"]):
        shown = [name.removeprefix(PREFIX) for name in names]
        tests.append((" and ".join(f"`{name}`" for name in shown), difference, of_runs, "lora" in shown))
    return test_table("updates", tests)


def correlations() -> list[str]:
    """Return Spearman correlations of the scores with the rank and the norm of the update."""
    lines = ["| compared | score with | dev | p | test | p |", "|---|---|--:|--:|--:|--:|"]
    found = _read()
    names = sorted(set(found.families))
    groups = np.array([names.index(family) for family in found.families])
    everything = np.zeros(len(names), dtype=int)  # the families are one group, within which they are exchanged
    rows = (
        ("updates within families", "rank", groups, found.ranks, None),
        ("updates within families", "norm", groups, found.norms, None),
        ("updates within families", "rank, with the norm as covariate", groups, found.ranks, found.norms),
        (f"means of {len(names)} families", "rank", everything, _means(np.log(found.ranks), groups), None),
        (f"means of {len(names)} families", "norm", everything, _means(np.log(found.norms), groups), None),
    )
    for compared, what, exchanged, values, covariate in rows:
        cells = []
        for scores in found.scores.values():
            ours = scores if exchanged is groups else _means(scores, groups)
            correlation, p = permutation_test(values, ours, exchanged, covariate)
            cells.append(f"{correlation:+.2f} | {format_p(p)}")
        lines.append(f"| {compared} | {what} | {' | '.join(cells)} |")
    return lines


def _read() -> Updates:
    methods = {label: method for label, method in block_methods(NARROW).items() if label.startswith(PREFIX)}
    return Updates(
        families=[label.split("_")[1] for label in methods],
        ranks=np.array([float(method.runs[0]["rank"]) for method in methods.values()]),
        norms=np.array([_learned(method, "norm") for method in methods.values()]),
        scores={
            split: np.array(
                [round(mean(method.scores(split)), 9) for method in methods.values()]
            )  # equal ones are ties
            for split in ("dev", "test")
        },
    )


def _means(values: Floats, groups: NDArray[Any]) -> Floats:
    return np.array([values[groups == group].mean() for group in np.unique(groups)])


def permutation_test(
    values: Floats, scores: Floats, groups: NDArray[Any], covariate: Floats | None = None
) -> tuple[float, float]:
    """Return the Spearman correlation of values with scores within groups, and its two-sided p-value.

    The values, scores and covariate are replaced by their ranks (1 = lowest). The mean of each group and the covariate
    are regressed out of both. The p-value is from random permutations of the values within their groups.
    """
    explained = [np.where(groups == group, 1.0, 0.0) for group in np.unique(groups)]
    if covariate is not None:
        explained.append(rankdata(covariate))
    basis, _ = np.linalg.qr(np.stack(explained, axis=1))  # (n, number of groups and covariates)
    random = np.random.default_rng(0)
    order = np.tile(np.arange(len(values)), (PERMUTATIONS, 1))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        order[:, members] = random.permuted(order[:, members], axis=1)
    order[0] = np.arange(len(values))  # the observed order
    permuted = rankdata(values)[order]
    permuted = permuted - permuted @ basis @ basis.T
    score = rankdata(scores) - basis @ (basis.T @ rankdata(scores))
    correlations = permuted @ score / (np.linalg.norm(permuted, axis=1) * np.linalg.norm(score))
    p = float((np.abs(correlations) >= abs(correlations[0]) - 1e-9).mean())
    return float(correlations[0]), p
