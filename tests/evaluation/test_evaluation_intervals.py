import math

import numpy as np
import pytest

from minimind.evaluation import intervals
from minimind.evaluation.intervals import ratio_interval, resampled_counts, share_interval


def simulated(random: np.random.Generator, documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths that differ by factors of ten, and rates that differ by document: 2 a unit of length on average."""
    lengths = np.exp(random.normal(6, 0.7, documents))
    return lengths * random.normal(2, 0.3, documents), lengths


@pytest.mark.parametrize("documents", [20, 80])
def test_intervals_cover_the_truth_as_often_as_they_say(documents):
    """400 simulated holdouts: 95% +- 2.5% is what chance allows at three standard errors, 2% more for so few."""
    random = np.random.default_rng(4)
    covered = 0
    for seed in range(400):
        interval = ratio_interval(*simulated(random, documents), seed, draws=300)
        covered += interval.low <= 2 <= interval.high
    assert 0.91 <= covered / 400 <= 0.985


def test_intervals_narrow_with_the_root_of_the_documents():
    random = np.random.default_rng(5)
    widths = []
    for documents in (100, 10_000):
        _, low, high = ratio_interval(*simulated(random, documents), seed=1)
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.35)


def test_value_is_the_ratio_of_the_sums():
    interval = ratio_interval([1, 2, 3, 4, 5], [2, 2, 2, 2, 4], seed=1)
    assert interval.value == 15 / 12
    assert interval.low < interval.value < interval.high


def test_draws_are_a_multinomial_of_all_documents():
    counts = resampled_counts(50, 4_000, seed=3)
    assert counts.shape == (4_000, 50)
    assert (counts.sum(axis=1) == 50).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(counts.var(axis=0), 1 - 1 / 50, atol=0.15)


def test_draws_depend_on_the_seed_and_not_on_what_memory_holds(monkeypatch):
    whole, interval = resampled_counts(7, 40, seed=3), ratio_interval(range(1, 8), [1] * 7, seed=3)
    monkeypatch.setattr(intervals, "CELLS_AT_ONCE", 21)
    np.testing.assert_array_equal(resampled_counts(7, 40, seed=3), whole)
    assert ratio_interval(range(1, 8), [1] * 7, seed=3) == pytest.approx(interval)
    assert (resampled_counts(7, 40, seed=4) != whole).any()


def test_documents_of_one_rate_leave_no_doubt():
    lengths = np.array([1.0, 10, 100, 1000, 10_000])
    assert ratio_interval(0.5 * lengths, lengths, seed=1) == pytest.approx((0.5, 0.5, 0.5))


def test_few_documents_have_a_value_and_no_interval():
    interval = ratio_interval([1, 2, 3, 4], [1, 1, 1, 1], seed=1)
    assert interval.value == 2.5
    assert not interval.known
    assert math.isnan(interval.low)


def test_nothing_to_divide_by_is_refused():
    with pytest.raises(ValueError, match="more than nothing"):
        ratio_interval([1, 2], [0, 0], seed=1)
    with pytest.raises(ValueError, match="at least one trial"):
        share_interval(0, 0)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(5, 10, 0.2366, 0.7634), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (81, 263, 0.2553, 0.3662)],
)
def test_share_has_wilsons_interval(successes, trials, low, high):
    """Newcombe 1998, table I (81 of 263), and the formula worked out by hand."""
    interval = share_interval(successes, trials)
    assert (interval.value, interval.low, interval.high) == pytest.approx((successes / trials, low, high), abs=1e-4)
