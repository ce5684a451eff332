"""Two models on the same documents: how many bits per byte the one saves, and whether that is more than chance.

Chance comes from two sides: other documents, and another seed of the training. An interval that knows the first alone
calls trainings different that differ by luck.
"""

from dataclasses import dataclass
from math import hypot, log
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from minimind.errors import NotComparableError, UserError
from minimind.evaluation.intervals import LEVEL, Interval, ratio_interval
from minimind.evaluation.scoring import DocumentScores
from minimind.evaluation.seed_spread import SeedSpread

BOOTSTRAP_SEED = 1

Verdict = Literal["better", "worse", "no_difference", "unclear"]


@dataclass(frozen=True)
class Difference:
    """Of a candidate to a baseline, on the same documents. Fewer bits are better, so a negative effect is good."""

    documents: int
    bytes: int
    baseline: float  # bits per byte
    candidate: float
    effect: Interval  # candidate - baseline, bits per byte
    knows_seeds: bool  # whether the interval holds the noise of the seed too

    @property
    def change(self) -> Interval:
        """The effect as a share of the baseline, which counts as known."""
        return Interval(*(part / self.baseline for part in self.effect))

    @property
    def verdict(self) -> Verdict:
        """`unclear` where too few documents, or an unknown noise of the seed, leave it open."""
        if not self.effect.known:
            return "unclear"
        if self.effect.low <= 0 <= self.effect.high:
            return "no_difference"
        if not self.knows_seeds:
            return "unclear"
        return "better" if self.effect.high < 0 else "worse"


def compare(
    baseline: DocumentScores, candidate: DocumentScores, spread: SeedSpread | None, source: str | None = None
) -> Difference:
    """The paired difference on documents that `paired` has put side by side; of one source where it is named.

    The interval of the documents is a paired bootstrap. That of the seeds is t(n - 1) x s x sqrt(a^2 + b^2): s is the
    seeds' relative standard deviation over n trainings, a and b the bits per byte of the two. They are joined as those
    of two independent parts of a sum are: the squares of what each reaches to a side are added (MOVER: Zou and Donner
    2008, Statistics in Medicine 27).
    """
    if source is not None:
        baseline, candidate = baseline.of_source(source), candidate.of_source(source)
    sizes = baseline.text_bytes
    value, low, high = ratio_interval(_bits(candidate) - _bits(baseline), sizes, BOOTSTRAP_SEED)
    a, b = baseline.bits_per_byte, candidate.bits_per_byte
    if spread is not None:
        seeds = spread.half_width(LEVEL, source) * hypot(a, b)
        low, high = value - hypot(value - low, seeds), value + hypot(high - value, seeds)
    return Difference(len(sizes), int(sizes.sum()), a, b, Interval(value, low, high), spread is not None)


def _bits(scores: DocumentScores) -> NDArray[np.float64]:
    return scores.nats / log(2)


def compare_by_source(
    baseline: DocumentScores, candidate: DocumentScores, spread: SeedSpread | None
) -> dict[str, Difference]:
    return {source: compare(baseline, candidate, spread, source) for source in sorted(set(baseline.sources))}


def paired(*scores: DocumentScores) -> list[DocumentScores]:
    """The same documents of all, in one order: those that every one of them has scored.

    Raises NotComparableError if there is none, UserError if a document is not the same text in all.
    """
    common = set.intersection(*(set(one.document_ids) for one in scores))
    if not common:
        raise NotComparableError("the models share no holdout document on which they could be compared")
    chosen = [_of_documents(one, sorted(common)) for one in scores]
    for one in chosen[1:]:
        if changed := np.flatnonzero(one.text_bytes != chosen[0].text_bytes).tolist():
            raise UserError(f"the holdout document {one.document_ids[changed[0]]} is not the same text for all models")
    return chosen


def _of_documents(scores: DocumentScores, document_ids: list[str]) -> DocumentScores:
    rows_of = {document_id: row for row, document_id in enumerate(scores.document_ids)}
    return scores.of(np.array([rows_of[document_id] for document_id in document_ids]))


def read_scores(path: Path) -> DocumentScores:
    """The scores that an evaluation has written to its documents.parquet."""
    table = pq.read_table(path, columns=["document_id", "source", "text_bytes", "tokens", "nats"])
    ids, sources = table["document_id"].to_pylist(), table["source"].to_pylist()
    return DocumentScores(ids, sources, *(table[name].to_numpy() for name in ("text_bytes", "tokens", "nats")))


# --- in words ---------------------------------------------------------------------------------------------------------


def in_words(difference: Difference, candidate: str, baseline: str) -> str:
    """Such as `version 4 needs 2.31% fewer bits per byte than version 3 (1.2% to 3.4% fewer, ...)`."""
    effect, change = difference.effect, difference.change
    more = "fewer" if effect.value < 0 else "more"
    needs = f"{abs(change.value):.2%} {more}" if effect.value else "exactly as many"
    than = "than" if effect.value else "as"
    values = f"{difference.candidate:.4f} and {difference.baseline:.4f}"
    said = f"{candidate} needs {needs} bits per byte {than} {baseline} ({values})"
    if not effect.known:
        return f"{said}; {difference.documents} documents are too few to say how far chance reaches"
    reach = f"between {_signed(change.low)} and {_signed(change.high)} with {LEVEL:.0%} confidence"
    if difference.knows_seeds:
        return f"{said}, {reach}, documents and seeds considered"
    return f"{said}, {reach} for other documents; how much another seed would have changed is not known"


def _signed(share: float) -> str:
    return f"{share:+.2%}"
