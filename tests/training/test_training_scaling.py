"""The rule that proposes a model, on cases worked out by hand and by what has to hold for all."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimind.training.ladder import LADDER
from minimind.training.scaling import (
    MAX_EPOCHS,
    NEARLY_EQUAL,
    Law,
    best_for_tokens,
    best_in_time,
    effective_tokens,
    smallest_of_best,
)

BY_HAND = Law(irreducible=1.0, parameter_term=8.0, token_term=27.0, parameter_exponent=1 / 3, token_exponent=1 / 3)
SIZES = {"small": 1_000_000, "middle": 26_000_000, "large": 124_000_000}
PEAK = 1e12  # tokens times parameters a second


def test_law_adds_its_three_terms():
    assert BY_HAND.bits_per_byte(8, 27, unique_tokens=1000) == pytest.approx(1 + 8 / 2 + 27 / 3)


def test_optimal_parameters_make_both_terms_fall_alike():
    # a A / N^a = b B / D^b: 8 / N^(1/3) = 27 / 1000^(1/3)
    assert BY_HAND.optimal_parameters(1000) == pytest.approx((8 / 2.7) ** 3)


def test_repeated_tokens_are_worth_less_and_less():
    # Muennighoff et al. 2023 with r = 15.4: 1 + 15.4 (1 - exp(-3 / 15.4)) = 3.726 of 4 epochs
    assert effective_tokens(100, unique_tokens=100) == 100
    assert effective_tokens(60, unique_tokens=100) == 60
    assert effective_tokens(400, unique_tokens=100) == pytest.approx(372.6, abs=0.1)
    assert effective_tokens(1e9, unique_tokens=100) == pytest.approx(1640)


def test_parameters_beyond_what_the_data_can_fill_are_worth_less():
    optimal = BY_HAND.optimal_parameters(1e6)
    assert BY_HAND.effective_parameters(optimal, 1e6) == pytest.approx(optimal)
    assert BY_HAND.effective_parameters(6.3 * optimal, 1e6) == pytest.approx(optimal * (1 + 5.3 * (1 - math.exp(-1))))


def test_law_in_which_parameters_or_tokens_gain_nothing_has_two_terms():
    assert Law(1.0, 0.0, 27.0, 1 / 3, 1 / 3).bits_per_byte(8, 27, unique_tokens=1000) == pytest.approx(1 + 27 / 3)
    assert Law(1.0, 8.0, 0.0, 1 / 3, 1 / 3).bits_per_byte(8, 27, unique_tokens=1000) == pytest.approx(1 + 8 / 2)


def test_law_in_which_parameters_or_tokens_gain_nothing_has_a_best_preset():
    assert best_for_tokens(Law(1.0, 0.0, 27.0, 1 / 3, 1 / 3), SIZES, 1e9, 1e9) == "small"
    assert best_for_tokens(Law(1.0, 8.0, 0.0, 1 / 3, 1 / 3), SIZES, 1e9, 1e9) == "large"


def test_tokens_go_to_the_preset_nearest_to_compute_optimal():
    law = Law(0.0, 1.0, 1.0, 1.0, 1.0)  # as many parameters as tokens
    assert best_for_tokens(law, SIZES, 5e6, 1e12) == "small"
    assert best_for_tokens(law, SIZES, 6e6, 1e12) == "middle"  # sqrt(1 x 26) is 5.1
    assert best_for_tokens(law, SIZES, 57e6, 1e12) == "large"  # sqrt(26 x 124) is 56.8
    assert best_for_tokens(law, SIZES, 57e6, 1e6) == "middle"  # worth no more than 16.4 million


def test_smaller_model_wins_where_a_larger_one_is_hardly_better():
    assert smallest_of_best({"small": 2.0, "large": 2.0 / (1 + NEARLY_EQUAL) + 1e-9}) == "small"
    assert smallest_of_best({"small": 2.0, "large": 2.0 / (1 + NEARLY_EQUAL) - 1e-3}) == "large"


def propose(seconds, unique_tokens, shares):
    """On a device where each model reaches its share of the peak; also which were measured."""
    measured = []

    def tokens(name, share):
        return min(share * PEAK * seconds / SIZES[name], MAX_EPOCHS * unique_tokens)

    def measure(name):
        measured.append(name)
        return tokens(name, shares[name])

    most = {name: tokens(name, 1.0) for name in SIZES}
    return *best_in_time(LADDER.law, SIZES, unique_tokens, most, measure), measured


def test_what_cannot_win_is_not_measured():
    name, expected, measured = propose(1.0, 1e9, dict.fromkeys(SIZES, 0.3))
    assert (name, list(expected), measured) == ("small", ["small"], ["small"])


def test_what_cannot_be_trained_at_all_does_not_win():
    most = dict.fromkeys(SIZES, 1e8)
    tokens = {"small": 1e8, "middle": 0.0, "large": 0.0}
    name, expected = best_in_time(LADDER.law, SIZES, 1e9, most, tokens.__getitem__)
    assert name == "small"
    assert all(math.isinf(value) for other, value in expected.items() if other != "small")


seconds = st.floats(1, 1e7)
unique = st.floats(1e5, 1e11)
shares = st.fixed_dictionaries({name: st.floats(0.05, 1) for name in SIZES})


@given(seconds=seconds, more=st.floats(1, 1000), unique_tokens=unique, shares=shares)
def test_more_time_never_proposes_a_smaller_model(seconds, more, unique_tokens, shares):
    before = propose(seconds, unique_tokens, shares)[0]
    after = propose(more * seconds, unique_tokens, shares)[0]
    assert SIZES[after] >= SIZES[before]


@given(tokens=st.floats(1e4, 1e12), more=st.floats(1, 1000), unique_tokens=unique)
def test_more_tokens_never_propose_a_smaller_model(tokens, more, unique_tokens):
    before = best_for_tokens(LADDER.law, SIZES, tokens, unique_tokens)
    assert SIZES[best_for_tokens(LADDER.law, SIZES, more * tokens, unique_tokens)] >= SIZES[before]


@given(seconds=seconds, unique_tokens=unique, shares=shares)
def test_skipping_measurements_costs_next_to_nothing(seconds, unique_tokens, shares):
    name, expected, _ = propose(seconds, unique_tokens, shares)
    all_of_them = {
        other: LADDER.law.bits_per_byte(
            SIZES[other],
            min(shares[other] * PEAK * seconds / SIZES[other], MAX_EPOCHS * unique_tokens),
            unique_tokens,
        )
        for other in SIZES
    }
    assert expected[name] <= min(all_of_them.values()) * (1 + NEARLY_EQUAL) ** 2


@given(tokens=st.floats(1e4, 1e12), more=st.floats(1, 10), unique_tokens=unique, parameters=st.floats(1e5, 1e9))
def test_more_tokens_and_more_unique_ones_never_score_worse(tokens, more, unique_tokens, parameters):
    score = LADDER.law.bits_per_byte(parameters, tokens, unique_tokens)
    assert LADDER.law.bits_per_byte(parameters, more * tokens, unique_tokens) <= score * (1 + 1e-9)
    assert LADDER.law.bits_per_byte(parameters, tokens, more * unique_tokens) <= score * (1 + 1e-9)


def test_outside_the_ladder_nothing_is_expected():
    high = LADDER.parameters.high, LADDER.tokens.high, 1e9, LADDER.batch_tokens.high
    found = LADDER.expect(*high)
    assert found.low <= found.value <= found.high
    assert LADDER.expect(26e6, 1e9, 1e9, 131_072) is None
    for place in (0, 1, 3):
        assert LADDER.expect(*(value * (3 if at == place else 1) for at, value in enumerate(high))) is None
