"""Bits per byte foreseen from parameters and tokens, and the model that a budget is best spent on. Pure functions.

L(N, D) = E + A / N'^a + B / D'^b (Hoffmann et al. 2022), with Muennighoff et al. 2023 for
data that repeats. U unique tokens seen R + 1 times are worth D' = U + U r (1 - exp(-R / r)), r = 15.4: 4 epochs are
nearly as good as fresh text, the 40th is worth a twelfth of it.
N parameters, of which U_N would be compute-optimal for the unique tokens alone, are worth
N' = U_N + U_N n (1 - exp(-(N / U_N - 1) / n)), n = 5.3.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

REPEATED_DATA = 15.4  # r, Muennighoff et al. 2023
EXCESS_PARAMETERS = 5.3  # n, the same
MAX_EPOCHS = 40  # that a proposal has: by then one more is worth 8% of fresh text
NEARLY_EQUAL = 0.005  # a larger model has to be so much better, as a share of bits per byte
USUAL_SHARE = 0.3  # of a device's peak that training reaches, to begin with the likeliest model
BEYOND = 1.25  # the factor by which a plan may lie outside the ladder and still count as measured


@dataclass(frozen=True)
class Law:
    """Bits per byte; parameters count the embedding, once where it is tied."""

    irreducible: float  # E
    parameter_term: float  # A
    token_term: float  # B
    parameter_exponent: float  # a
    token_exponent: float  # b

    def bits_per_byte(self, parameters: float, tokens: float, unique_tokens: float) -> float:
        """Of a model trained on `tokens` of a corpus that has `unique_tokens`."""
        size, seen = self.effective_parameters(parameters, unique_tokens), effective_tokens(tokens, unique_tokens)
        return self.irreducible + float(
            self.parameter_term / size**self.parameter_exponent + self.token_term / seen**self.token_exponent
        )

    def effective_parameters(self, parameters: float, unique_tokens: float) -> float:
        if not self.parameter_term:  # none are worth anything, and none too many
            return parameters
        return worth(parameters, min(parameters, self.optimal_parameters(unique_tokens)), EXCESS_PARAMETERS)

    def optimal_parameters(self, tokens: float) -> float:
        """For which `tokens` are compute-optimal: at 6 N D operations, a A / N^a = b B / D^b."""
        if not self.token_term:
            return math.inf
        terms = self.parameter_exponent * self.parameter_term / (self.token_exponent * self.token_term)
        return float((terms * tokens**self.token_exponent) ** (1 / self.parameter_exponent))


def effective_tokens(tokens: float, unique_tokens: float) -> float:
    """What tokens are worth in fresh ones."""
    return worth(tokens, min(tokens, unique_tokens), REPEATED_DATA)


def worth(amount: float, fresh: float, constant: float) -> float:
    return fresh + fresh * constant * (1 - math.exp(-(amount / fresh - 1) / constant))


# --- which model ------------------------------------------------------------------------------------------------------


def best_for_tokens(law: Law, parameters: Mapping[str, int], tokens: float, unique_tokens: float) -> str:
    """The name whose parameters are, by ratio, nearest to the compute-optimal ones for what the tokens are worth."""
    sizes = parameters.values()
    optimal = max(min(sizes), min(law.optimal_parameters(effective_tokens(tokens, unique_tokens)), max(sizes)))
    return min(parameters, key=lambda name: abs(math.log(parameters[name] / optimal)))


def best_in_time(
    law: Law,
    parameters: Mapping[str, int],
    unique_tokens: float,
    most_tokens: Mapping[str, float],
    measure: Callable[[str], float],
) -> tuple[str, dict[str, float]]:
    """The name with which the least bits per byte are expected, and what is expected of each that was measured.

    `parameters` ascend. `measure` says how many tokens a model can be trained on in the time, 0 for too few to train at
    all; `most_tokens` how many the device could do at its peak. What could not win even so is not measured.
    """

    def expected(name: str, tokens: float) -> float:
        return law.bits_per_byte(parameters[name], tokens, unique_tokens) if tokens else math.inf

    at_best = {name: expected(name, tokens) for name, tokens in most_tokens.items()}
    likely = {name: expected(name, USUAL_SHARE * tokens) for name, tokens in most_tokens.items()}
    measured: dict[str, float] = {}
    for name in sorted(parameters, key=lambda name: likely[name]):
        in_order = [other for other in parameters if other in measured or other == name]
        if not measured or smallest_of_best({other: measured.get(other, at_best[other]) for other in in_order}) == name:
            measured[name] = expected(name, measure(name))
    found = {name: measured[name] for name in parameters if name in measured}
    return smallest_of_best(found), found


def smallest_of_best(expected: Mapping[str, float]) -> str:
    """The first, so the smallest, of those that are nearly as good as the best."""
    limit = min(expected.values()) * (1 + NEARLY_EQUAL)
    return next(name for name, value in expected.items() if value <= limit)


# --- what was measured ------------------------------------------------------------------------------------------------


class Range(NamedTuple):
    low: float
    high: float

    def holds(self, value: float, factor: float = 1) -> bool:
        return self.low / factor <= value <= self.high * factor


@dataclass(frozen=True)
class Ladder:
    """Where a law comes from, and how far it can be trusted there."""

    law: Law
    parameters: Range
    tokens: Range
    batch_tokens: Range
    ratio: Range  # of bits per byte found to bits per byte expected, on the ladder's corpora

    def expect(self, parameters: float, tokens: float, unique_tokens: float, batch_tokens: float) -> "Expected | None":
        """None outside what was measured."""
        inside = (
            self.parameters.holds(parameters, BEYOND)
            and self.tokens.holds(tokens, BEYOND)
            and self.batch_tokens.holds(batch_tokens, BEYOND)
        )
        if not inside:
            return None
        value = self.law.bits_per_byte(parameters, tokens, unique_tokens)
        return Expected(value=value, low=value * self.ratio.low, high=value * self.ratio.high)


class Expected(BaseModel):
    """Bits per byte."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    low: float
    high: float
