"""How far a figure measured on these documents may lie from that of all documents like them: bootstrap intervals.

A document is what is drawn, never a token or a byte: tokens of one document are alike. The interval says nothing about
what another seed of the training would have given.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 2_000
LEVEL = 0.95
MIN_DOCUMENTS = 5  # with fewer there is no interval: what can be drawn from them says too little
CELLS_AT_ONCE = 2**21  # draws x documents in memory, 16 MB


class Interval(NamedTuple):
    value: float
    low: float  # nan, as `high`, where there is no interval
    high: float

    @property
    def known(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def as_json(self) -> list[float | None]:
        """Value, low, high; None for the two where there is no interval."""
        return [*self] if self.known else [self.value, None, None]


def resampled_counts(documents: int, draws: int, seed: int) -> NDArray[np.int64]:
    """How often each document stands in each draw of as many documents with replacement, [draws, documents]."""
    chunks = list(_chunks(documents, draws, seed))
    return np.concatenate(chunks) if chunks else np.zeros((0, documents), np.int64)


def ratio_interval(
    numerator: ArrayLike, denominator: ArrayLike, seed: int, draws: int = DRAWS, level: float = LEVEL
) -> Interval:
    """The sum of the numerators by the sum of the denominators, one of each a document, with its interval.

    Bits per byte: bits by bytes. A paired difference of two models: the differences of their bits by bytes. The same
    seed draws the same documents, whatever is measured on them.

    Studentised (bootstrap-t: Efron and Tibshirani 1993, section 12.5), the standard error of a ratio by linearisation:
    with tens of documents of very different lengths the plain quantiles of the draws cover far less than they say.
    Raises ValueError if the denominators add up to nothing.
    """
    above, below = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    if not below.sum() > 0:
        raise ValueError("the denominators of a ratio have to add up to more than nothing")
    value = float(above.sum() / below.sum())
    if len(above) < MIN_DOCUMENTS:
        return Interval(value, np.nan, np.nan)
    errors = above - value * below  # their sum is 0
    columns = np.stack([below, errors, errors**2, errors * below, below**2], axis=1)  # documents 5
    sums = np.concatenate([chunk @ columns for chunk in _chunks(len(above), draws, seed)])  # draws 5
    sums = sums[sums[:, 0] > 0]  # a draw of empty documents alone has no ratio
    total, shift, squares, mixed, lengths = sums.T
    shift = shift / total  # the draw's ratio, less the value
    spread = np.sqrt(np.maximum(squares - 2 * shift * mixed + shift**2 * lengths, 0)) / total
    studentised = np.divide(shift, spread, out=np.zeros_like(shift), where=spread > 0)
    least, most = np.quantile(studentised, [(1 - level) / 2, (1 + level) / 2])
    standard_error = float(np.sqrt((errors**2).sum()) / below.sum())
    return Interval(value, value - float(most) * standard_error, value - float(least) * standard_error)


def share_interval(successes: int, trials: int) -> Interval:
    """A share of trials with its 95% interval by Wilson's score (1927), which holds for few trials and for 0 and 1.

    Trials count as independent. Raises ValueError if there was none.
    """
    if trials < 1:
        raise ValueError("a share needs at least one trial")
    z = 1.959964  # of the normal distribution, two-sided 95%
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return Interval(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def _chunks(documents: int, draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """The draws in their order, a bounded number at a time; they do not depend on how many."""
    random = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // max(1, documents))
    for first in range(0, draws, at_once):
        rows = min(at_once, draws - first)
        drawn = random.integers(documents, size=(rows, documents))
        drawn += documents * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * documents).reshape(rows, documents)
