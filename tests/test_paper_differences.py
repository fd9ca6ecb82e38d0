"""Test the p-values of differences between the paper's scores (docs/site/paper_differences.py)."""

import pytest
from paper_differences import count_examples, estimate_p, mcnemar, paper_differences
from scipy import stats

from krona.messages import KronaError
from krona.metrics.power import Assumed, Errors

RTE, SST2 = Errors("accuracy", 139), Errors("accuracy", 872)


def test_neighbours_of_table_1_and_pairs():
    pairs = [pair for pair in paper_differences("1") if pair.task in ("rte", "stsb")]
    assert len(pairs) == 16, "nine methods on each"
    assert [pairs[0].better, pairs[0].other, pairs[0].examples] == ["krona", "krona_b_res", 1]
    assert pairs[-1].examples is None
    assert pairs[-1].best is None, "a correlation counts no examples"
    assert 0 < pairs[-1].realistic < 1
    (pair,) = (pair for pair in paper_differences("1", ["lora", "krona"]) if pair.task == "rte")
    assert (pair.better, pair.examples, pair.best) == ("krona", 5, 0.0625)
    assert pair.best < pair.realistic < pair.cautious
    (pair,) = paper_differences("9", ["2x384", "48x16"])
    assert pair.examples == round(0.0013 * 9832), "Table 9 has scores of dev"
    with pytest.raises(KronaError, match="Table 2 has no scores by task"):
        paper_differences("2")
    with pytest.raises(KronaError, match="did you mean 'lora'"):
        paper_differences("1", ["krona", "lorra"])


def test_the_papers_best_cases():
    assert count_examples(RTE, 77.70, 74.10) == 5
    assert mcnemar(5, 0) == 0.0625
    assert count_examples(SST2, 94.26, 93.92) == 3
    assert mcnemar(3, 0) == 0.25
    assert mcnemar(0, 0) == mcnemar(1, 0) == 1.0
    assert mcnemar(6, 0) <= 0.05 < mcnemar(5, 0)


def test_the_realistic_case_is_mcnemar_on_the_assumed_discordant_examples():
    errors = Errors("accuracy", 1_000)
    # 100 and 120 errors, 30 % of them not shared, give 66 discordant examples: 43 for one method and 23 for the other.
    expected = stats.binomtest(23, 66, 0.5).pvalue
    assert estimate_p(errors, 90, 88, Assumed(unshared=0.3)) == pytest.approx(expected)
    assert estimate_p(errors, 90, 88, Assumed(unshared=0.001)) == mcnemar(20, 0)
