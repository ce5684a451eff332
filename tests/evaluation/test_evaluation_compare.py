import math
from functools import partial

import numpy as np
import pytest

from minimind.errors import UserError
from minimind.evaluation import compare as module
from minimind.evaluation.compare import Difference, compare, compare_by_source, in_words, paired
from minimind.evaluation.intervals import Interval, ratio_interval
from minimind.evaluation.scoring import DocumentScores
from minimind.evaluation.seed_spread import SeedSpread, spread_of


def scores(bits_per_byte, text_bytes, sources=None, ids=None):
    """Documents of these sizes with these bits per byte, one number or one a document."""
    sizes = np.asarray(text_bytes)
    bits = np.broadcast_to(np.asarray(bits_per_byte, float), sizes.shape) * sizes
    ids = ids or [f"law/{number:03}" for number in range(len(sizes))]
    return DocumentScores(ids, sources or ["law"] * len(sizes), sizes, sizes // 3, bits * math.log(2))


@pytest.mark.parametrize(("noise", "seed_noise"), [(0.1, 0.002), (0.03, 0.02), (0.005, 0.02)])
def test_intervals_cover_the_truth_where_documents_and_seeds_both_vary(monkeypatch, noise, seed_noise):
    """600 times: a spread measured with three seeds, two more trainings, a holdout of 60 documents. The candidate's
    recipe is 3% better. 95% +- 2.7% is what chance allows at three standard errors; joined intervals may be wider."""
    monkeypatch.setattr(module, "ratio_interval", partial(ratio_interval, draws=200))
    random = np.random.default_rng(11)
    covered = documents_alone = 0
    for _ in range(600):
        sizes = np.exp(random.normal(8, 1, 60)).astype(int) + 1
        spread = spread_of(list(2 * (1 + seed_noise * random.normal(size=3))), {})
        level = random.normal(2, 0.3, 60)
        first = scores(level * (1 + seed_noise * random.normal()), sizes)
        own = 0.97 * level * (1 + noise * random.normal(size=60))
        second = scores(own * (1 + seed_noise * random.normal()), sizes)
        for known in (spread, None):
            found = compare(first, second, known)
            holds = found.change.low <= -0.03 <= found.change.high
            covered, documents_alone = (
                (covered + holds, documents_alone) if known else (covered, documents_alone + holds)
            )
    assert covered / 600 >= 0.923
    assert covered / 600 <= 0.995
    if seed_noise > noise / 3:
        assert documents_alone / 600 < 0.9, "which is why seeds have to be considered"


def test_effect_is_the_difference_of_the_bits_by_the_bytes():
    sizes = [100, 300, 100, 200, 300]
    found = compare(scores([2, 2, 2, 2, 2], sizes), scores([1, 2, 3, 2, 1.9], sizes), SeedSpread(0.01, {}, 3))
    assert found.effect.value == pytest.approx(-30 / 1000)
    assert found.change.value == pytest.approx(-0.015)
    assert (found.documents, found.bytes, found.baseline) == (5, 1000, pytest.approx(2))


def test_seeds_widen_the_interval_by_students_t():
    """Documents of one rate leave no doubt, so the whole width is t(2) x s x sqrt(a^2 + b^2)."""
    sizes = [100] * 20
    found = compare(scores(2, sizes), scores(1.9, sizes), SeedSpread(0.01, {"law": 0.01}, 3), "law")
    width = 4.302653 * 0.01 * math.hypot(2, 1.9)
    assert found.effect == pytest.approx((-0.1, -0.1 - width, -0.1 + width), abs=1e-6)
    stated = compare(scores(2, sizes), scores(1.9, sizes), SeedSpread(0.01, {}, None))
    assert stated.effect.high == pytest.approx(-0.1 + 1.959964 * 0.01 * math.hypot(2, 1.9), abs=1e-6)


def test_seeds_and_documents_add_as_squares():
    random = np.random.default_rng(2)
    sizes = random.integers(100, 1000, 40)
    first, second = scores(random.normal(2, 0.1, 40), sizes), scores(random.normal(1.9, 0.1, 40), sizes)
    alone = compare(first, second, None)
    both = compare(first, second, SeedSpread(0.01, {}, None))
    seeds = 1.959964 * 0.01 * math.hypot(both.baseline, both.candidate)
    assert both.effect.value - both.effect.low == pytest.approx(
        math.hypot(alone.effect.value - alone.effect.low, seeds), rel=1e-5
    )


@pytest.mark.parametrize(
    ("low", "high", "knows_seeds", "verdict"),
    [
        (-0.2, -0.1, True, "better"),
        (0.1, 0.2, True, "worse"),
        (-0.1, 0.1, True, "no_difference"),
        (-0.1, 0.1, False, "no_difference"),
        (-0.2, -0.1, False, "unclear"),
        (math.nan, math.nan, True, "unclear"),
    ],
)
def test_verdict_needs_more_than_chance_of_either_kind(low, high, knows_seeds, verdict):
    found = Difference(50, 1000, 2.0, 1.9, Interval((low + high) / 2, low, high), knows_seeds)
    assert found.verdict == verdict


def test_spread_is_the_relative_standard_deviation():
    spread = spread_of([1.0, 1.1, 0.9], {"law": [2.0, 2.0, 2.0]})
    assert spread.share == pytest.approx(0.1)
    assert (spread.by_source, spread.seeds) == ({"law": 0.0}, 3)
    assert spread.half_width(0.95, "law") == 0
    assert spread.half_width(0.95, "another") == pytest.approx(0.4302653)


def test_documents_are_paired_by_their_ids():
    first = scores([1, 2, 3], [10, 20, 30], ids=["a", "b", "c"])
    second = scores([5, 4, 6], [30, 20, 10], ids=["c", "b", "z"])
    one, other = paired(first, second)
    assert one.document_ids == other.document_ids == ["b", "c"]
    np.testing.assert_allclose(other.nats / math.log(2), [80, 150])


def test_documents_that_cannot_be_paired_are_refused():
    with pytest.raises(UserError, match="share no holdout document"):
        paired(scores(1, [10], ids=["a"]), scores(1, [10], ids=["b"]))
    with pytest.raises(UserError, match="document b is not the same text"):
        paired(scores(1, [10, 20], ids=["a", "b"]), scores(1, [10, 21], ids=["a", "b"]))


def test_sources_are_compared_by_themselves():
    sizes, sources = [100] * 12, ["law"] * 6 + ["tax"] * 6
    first = scores(2, sizes, sources)
    second = scores([1.8] * 6 + [2.1] * 6, sizes, sources)
    found = compare_by_source(first, second, SeedSpread(0.001, {}, 3))
    assert {source: one.change.value for source, one in found.items()} == pytest.approx({"law": -0.1, "tax": 0.05})
    assert [one.verdict for one in found.values()] == ["better", "worse"]


def test_words_say_how_much_how_sure_and_what_is_not_known():
    known = Difference(50, 1000, 2.0, 1.9, Interval(-0.1, -0.15, -0.05), True)
    assert in_words(known, "version 4", "version 3") == (
        "version 4 needs 5.00% fewer bits per byte than version 3 (1.9000 and 2.0000), between -7.50% and -2.50% "
        "with 95% confidence, documents and seeds considered"
    )
    unknown = Difference(50, 1000, 2.0, 1.9, Interval(-0.1, -0.15, -0.05), False)
    assert "another seed would have changed is not known" in in_words(unknown, "version 4", "version 3")
    few = Difference(2, 1000, 2.0, 2.1, Interval(0.1, math.nan, math.nan), True)
    assert "5.00% more" in in_words(few, "version 4", "version 3")
    assert "too few" in in_words(few, "version 4", "version 3")
