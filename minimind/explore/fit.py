"""What more training or more text would bring, foreseen from three small trainings. Pure functions.

L = E + B / D'^b, where D' is what the tokens of a training are worth in fresh ones (`minimind.training.scaling`). Three
trainings cannot tell E, B and b apart, so two laws are fitted: one has the exponent of the project's ladder, the other
its floor for a model of this size. Both are right about what was measured and differ where they foresee: that
difference, and trainings drawn anew with the noise of seeds, make the range.

How much repeated text is worth (r of Muennighoff et al. 2023) is fitted too, held to 15.4 within a factor of two or so;
trainings that read no text twice leave it there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minimind.training.ladder import LADDER
from minimind.training.scaling import REPEATED_DATA

SEED_NOISE = 0.01  # relative standard deviation of trainings that differ by chance; docs/benchmarks/ladder.md: 1 to 2%
CURVE_NOISE = 0.003  # the same, of two evaluations of one training
DRAWS = 400
RANGE = (2.5, 97.5)  # percent of the draws
REPEATS = REPEATED_DATA * 2.0 ** np.arange(-3, 2.5, 0.5)
EXPONENTS = np.arange(0, 1.2, 0.02)
MAX_FLOOR = 0.8  # of the least bits per byte found; a corpus may be plainer than the ladder's
LEAST_POINTS = 3  # of a curve

Kind = Literal["training", "text", "both"]
Floats = NDArray[np.float64]


class Trial(NamedTuple):
    tokens: float  # trained on
    unique_tokens: float  # of its training text
    bits_per_byte: float  # of the holdout, at the end


class Gain(NamedTuple):
    """What is saved: bits per byte, or a share of them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Laws:
    """One entry a law; the first is fitted to what was measured, the others to draws with noise."""

    floor: Floats  # E: what a model of this size needs at the least
    term: Floats  # B
    exponent: Floats  # b
    repeats: Floats  # r

    def bits_per_byte(self, tokens: float, unique_tokens: float) -> Floats:
        found: Floats = self.floor + self.term * effective(tokens, unique_tokens, self.repeats) ** -self.exponent
        return found

    def gain(self, start: Trial, training: float, text: float) -> Floats:
        """From so many times the training and the text."""
        now = self.bits_per_byte(start.tokens, start.unique_tokens)
        return now - self.bits_per_byte(training * start.tokens, text * start.unique_tokens)


def effective(tokens: float, unique_tokens: float, repeats: Floats) -> Floats:
    """What tokens are worth in fresh ones, for each r; `scaling.worth` for many."""
    fresh = min(tokens, unique_tokens)
    worth: Floats = fresh + fresh * repeats * (1 - np.exp(-(tokens / fresh - 1) / repeats))
    return worth


@dataclass(frozen=True)
class Forecast:
    """Of the first trial, from where it stands."""

    start: Trial
    laws: tuple[Laws, ...]
    curve: Laws | None  # the training's own; its floor is no end of a training

    def gain(self, kind: Kind, factor: float) -> Gain:
        """From `factor` times as much. What the training's own curve says counts for `training` alone."""
        training, text = {"training": (factor, 1.0), "text": (1.0, factor), "both": (factor, factor)}[kind]
        laws = (*self.laws, self.curve) if self.curve and kind == "training" else self.laws
        return gain_of([one.gain(self.start, training, text) for one in laws])

    def share_of_text(self, tokens: float) -> Gain:
        """What twice the text would save of a training of so many tokens, as a share of its bits per byte."""
        text = self.start.unique_tokens
        return gain_of([1 - one.bits_per_byte(tokens, 2 * text) / one.bits_per_byte(tokens, text) for one in self.laws])


def gain_of(found: Sequence[Floats]) -> Gain:
    """The mean of what the laws say, and how far they, and the draws with noise, lie apart."""
    values = [float(one[0]) for one in found]
    low, high = np.percentile(np.concatenate([one[1:] for one in found]), RANGE)
    return Gain(float(np.mean(values)), float(min(low, *values)), float(max(high, *values)))


def forecast(trials: Sequence[Trial], curve: Sequence[tuple[float, float]], parameters: float, seed: int) -> Forecast:
    """`trials` begin with the one that is gone on from; `curve` has (tokens, bits per byte) of its evaluations.

    The curve's are those at the full learning rate: an evaluation before the rate has decayed is worse than a training
    that ended there, by about the same everywhere, so that only its slope is used. Fewer than three tell none.
    """
    random = np.random.default_rng(seed)
    values = with_noise(np.array([trial.bits_per_byte for trial in trials]), SEED_NOISE, random)
    law = LADDER.law
    floor = law.irreducible + law.parameter_term / parameters**law.parameter_exponent
    by_exponent = likeliest(trials, values, [with_exponent(trials, values, repeats) for repeats in REPEATS])
    by_floor = likeliest(trials, values, [with_floor(trials, values, repeats, floor) for repeats in REPEATS])
    own = None
    if len(curve) >= LEAST_POINTS:
        points = [Trial(tokens, trials[0].unique_tokens, value) for tokens, value in curve]
        heights = with_noise(np.array([point.bits_per_byte for point in points]), CURVE_NOISE, random)
        own = with_exponent(points, heights, float(by_exponent.repeats[0]))
    return Forecast(trials[0], (by_exponent, by_floor), own)


def with_noise(values: Floats, noise: float, random: np.random.Generator) -> Floats:
    """The values, then DRAWS rows of them with noise."""
    drawn = values * (1 + noise * random.standard_normal((DRAWS, len(values))))
    return np.concatenate([values[None], drawn])


def likeliest(trials: Sequence[Trial], values: Floats, fitted: Sequence[Laws]) -> Laws:
    """For each row of values the law with the r that trials and literature together make likeliest."""

    def unlikely(laws: Laws) -> Floats:
        expected = np.stack([laws.bits_per_byte(trial.tokens, trial.unique_tokens) for trial in trials], axis=1)
        misses = (expected / values - 1) / SEED_NOISE
        found: Floats = (misses**2).sum(axis=1) + np.log2(laws.repeats / REPEATED_DATA) ** 2
        return found

    best = np.argmin([unlikely(laws) for laws in fitted], axis=0)
    rows = np.arange(len(values))
    parts = ("floor", "term", "exponent", "repeats")
    return Laws(*(np.stack([getattr(laws, part) for laws in fitted])[best, rows] for part in parts))


def with_exponent(trials: Sequence[Trial], values: Floats, repeats: float) -> Laws:
    """Least squares of relative errors for E and B by the ladder's b, neither below zero; a row of values a law."""
    exponent = LADDER.law.token_exponent
    powers = seen_by(trials, repeats) ** -exponent
    weights = 1 / values
    ones, crossed, squares = ((weights**2 * powers**power).sum(axis=1) for power in (0, 1, 2))
    level, slope = weights.sum(axis=1), (weights * powers).sum(axis=1)
    determinant = ones * squares - crossed**2
    floor = (squares * level - crossed * slope) / determinant
    term = (ones * slope - crossed * level) / determinant
    flat, deep = term < 0, floor < 0
    floor = np.where(flat, level / ones, np.maximum(floor, 0))
    term = np.where(flat, 0, np.where(deep, slope / squares, term))
    return Laws(floor, term, np.full(len(values), exponent), np.full(len(values), repeats))


def with_floor(trials: Sequence[Trial], values: Floats, repeats: float, floor: float) -> Laws:
    """The same for B and b, with E given."""
    floors = np.minimum(floor, MAX_FLOOR * values.min(axis=1))
    powers = seen_by(trials, repeats)[:, None] ** -EXPONENTS  # trials, exponents
    weighted = powers / values[:, :, None]  # rows, trials, exponents
    above = (1 - floors[:, None] / values)[:, :, None]
    terms = (above * weighted).sum(axis=1) / (weighted**2).sum(axis=1)
    best = ((above - terms[:, None] * weighted) ** 2).sum(axis=1).argmin(axis=1)
    rows = np.arange(len(values))
    return Laws(floors, terms[rows, best], EXPONENTS[best], np.full(len(values), repeats))


def seen_by(trials: Sequence[Trial], repeats: float) -> Floats:
    one = np.array([repeats])
    return np.concatenate([effective(trial.tokens, trial.unique_tokens, one) for trial in trials])
