"""The scaling law through the rungs, and how well it fits."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.rows import Row
from minimind.training.scaling import Ladder, Law, Range

EXPONENT = 0.353  # of both terms, Muennighoff et al. 2023
SEED_NOISE = 0.02  # docs/recipe.md: three seeds of one recipe lay within 1.7% of each other
GRID = np.arange(0.1, 1.01, 0.02)  # of exponents, where they are free


def ladder_of(rows: Sequence[Row]) -> Ladder:
    """Fitted to the rows that are no check; its range is that of all rows, widened by seeds and by left-out rows."""
    fitted = [row for row in rows if not row["check"]]
    law = fit(fitted, EXPONENT, EXPONENT)
    ratios = [row["bits_per_byte"] / expected(law, row) for row in rows]
    beyond = SEED_NOISE + max(map(abs, left_out_errors(fitted)))  # three numbers fit few rows better than any other
    return Ladder(
        law=law,
        parameters=range_of(fitted, "parameters"),
        tokens=range_of(fitted, "tokens"),
        batch_tokens=range_of(fitted, "batch_tokens"),
        ratio=Range(round(min(ratios) - beyond, 3), round(max(ratios) + beyond, 3)),
    )


def fit(rows: Sequence[Row], parameter_exponent: float, token_exponent: float) -> Law:
    """Least squares of relative errors; terms that came out negative are left out."""
    scores = np.array([row["bits_per_byte"] for row in rows])
    columns = np.array(
        [[1.0, row["parameters"] ** -parameter_exponent, row["tokens"] ** -token_exponent] for row in rows]
    )
    used = [0, 1, 2]
    while True:
        found = np.linalg.lstsq(columns[:, used] / scores[:, None], np.ones(len(rows)), rcond=None)[0]
        if min(found) >= 0:
            break
        used = [column for column, value in zip(used, found, strict=True) if value >= 0]
    terms = np.zeros(3)
    terms[used] = found
    return Law(*(float(f"{term:.6g}") for term in terms), parameter_exponent, token_exponent)


def free_fit(rows: Sequence[Row]) -> Law:
    """The best over a grid of both exponents."""
    laws = (fit(rows, float(round(a, 2)), float(round(b, 2))) for a in GRID for b in GRID)
    return min(laws, key=lambda law: rms(law, rows))


def rms(law: Law, rows: Sequence[Row]) -> float:
    """Of the relative errors."""
    return math.sqrt(sum(error**2 for error in errors(law, rows)) / len(rows))


def errors(law: Law, rows: Sequence[Row]) -> Iterator[float]:
    """What was found over what is expected, less one."""
    return (row["bits_per_byte"] / expected(law, row) - 1 for row in rows)


def expected(law: Law, row: Row) -> float:
    return law.bits_per_byte(row["parameters"], row["tokens"], row["unique_tokens"])


def left_out_errors(rows: Sequence[Row]) -> list[float]:
    """Of each row, by the law fitted to the others."""
    return [
        row["bits_per_byte"] / expected(fit([other for other in rows if other is not row], EXPONENT, EXPONENT), row) - 1
        for row in rows
    ]


def range_of(rows: Sequence[Row], name: str) -> Range:
    values = [row[name] for row in rows]
    return Range(min(values), max(values))
