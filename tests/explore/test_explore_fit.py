"""The forecast on trainings whose law is known."""

import math

import numpy as np
import pytest

from minimind.explore.fit import Forecast, Laws, Trial, effective, forecast
from minimind.training.ladder import LADDER
from minimind.training.scaling import effective_tokens

PARAMETERS = 1.3e6
SHARES = ((1, 1), (1 / 2, 1 / 2), (1 / 2, 1 / 4))  # of the tokens trained on, of the text


def law(floor: float = 0.9, at_400k: float = 1.1, exponent: float = LADDER.law.token_exponent, repeats: float = 15.4):
    """`at_400k` is what 400,000 fresh tokens leave above the floor, in bits per byte."""
    return Laws(*(np.array([value]) for value in (floor, at_400k * 4e5**exponent, exponent, repeats)))


def trained(
    true: Laws, tokens: float, unique: float, noise: np.random.Generator | None = None
) -> tuple[list[Trial], list[tuple[float, float]]]:
    """Three trials by the law, and the evaluations of the first while its rate was full, all higher by as much."""

    def luck(deviation: float) -> float:
        return 1 + deviation * noise.standard_normal() if noise else 1.0

    def found(tokens: float, unique: float) -> float:
        return float(true.bits_per_byte(tokens, unique)[0])

    trials = [
        Trial(read * tokens, share * unique, found(read * tokens, share * unique) * luck(0.01))
        for read, share in SHARES
    ]
    curve = [(part * tokens, 0.15 + found(part * tokens, unique) * luck(0.003)) for part in (0.1, 0.2, 0.3, 0.4, 0.5)]
    return trials, curve


def forecast_of(true: Laws, tokens: float, unique: float) -> Forecast:
    return forecast(*trained(true, tokens, unique), PARAMETERS, seed=1)


def gain_by(true: Laws, start: Trial, kind: str, factor: float) -> float:
    training, text = {"training": (factor, 1), "text": (1, factor), "both": (factor, factor)}[kind]
    return float(true.gain(start, training, text)[0])


@pytest.mark.parametrize("epochs", [0.1, 0.5, 2, 8])
def test_tokens_that_repeat_are_worth_what_the_project_says(epochs: float) -> None:
    [found] = effective(epochs * 1e6, 1e6, np.array([15.4]))
    assert found == pytest.approx(effective_tokens(epochs * 1e6, 1e6))


@pytest.mark.parametrize("epochs", [0.1, 2, 8])
@pytest.mark.parametrize("kind", ["training", "text", "both"])
def test_law_with_the_ladders_exponent_is_found_again(epochs: float, kind: str) -> None:
    seen = forecast_of(law(), 4e5, 4e5 / epochs)
    for factor in (2, 4):
        true = gain_by(law(), seen.start, kind, factor)
        gain = seen.gain(kind, factor)
        assert gain.low <= true <= gain.high
        assert gain.value == pytest.approx(true, rel=0.12, abs=1e-9)


def test_ranges_hold_the_truth_nine_times_in_ten() -> None:
    """Corpora of other floors, exponents, sizes and worth of repeats than the ladder's; each training with its luck."""
    random = np.random.default_rng(1)
    held, narrow = [], []
    for _ in range(60):
        true = law(
            random.uniform(0.5, 1.2), random.uniform(0.6, 1.6), random.uniform(0.25, 0.5),
            15.4 * 2 ** random.normal(0, 0.7),
        )  # fmt: skip
        tokens, epochs = random.choice([3e5, 6e5, 1.5e6]), random.choice([0.1, 0.5, 2, 8])
        seen = forecast(*trained(true, tokens, tokens / epochs, random), PARAMETERS, seed=1)
        for kind in ("training", "text", "both"):
            for factor in (2, 4):
                gain, wanted = seen.gain(kind, factor), gain_by(true, seen.start, kind, factor)
                held.append(gain.low - 1e-9 <= wanted <= gain.high + 1e-9)
                narrow.append(gain.high - gain.low < 0.3 * seen.start.bits_per_byte)
    assert np.mean(held) >= 0.9
    assert np.mean(narrow) >= 0.9  # a range that holds everything would say nothing


def test_text_that_was_not_read_brings_nothing_and_repeated_text_is_missed() -> None:
    unread, repeated = forecast_of(law(), 4e5, 4e6), forecast_of(law(repeats=2), 1.6e6, 2e5)
    assert unread.gain("text", 4) == pytest.approx((0, 0, 0), abs=1e-12)
    assert unread.gain("training", 2).low > 0
    assert repeated.gain("text", 2).value > repeated.gain("training", 2).value > 0


def test_trainings_that_are_no_better_with_more_promise_nothing() -> None:
    trials = [Trial(4e5, 4e6, 2.0), Trial(2e5, 2e6, 1.98), Trial(2e5, 1e6, 2.02)]
    gain = forecast(trials, [], PARAMETERS, seed=1).gain("training", 4)
    assert 0 <= gain.low <= gain.value < 0.1
    assert math.isfinite(gain.high)


def test_corpus_plainer_than_the_ladders_floor_can_be_fitted() -> None:
    plain = law(floor=0.1, at_400k=0.3)
    seen = forecast_of(plain, 4e5, 4e6)
    assert 0 < seen.gain("training", 4).value < seen.start.bits_per_byte
