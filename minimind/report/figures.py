"""Numbers as words, and values as places on a drawing: in percent, so that a page of any width can draw them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

MAX_POINTS = 400  # of a curve; a screen shows no more


class Tick(NamedTuple):
    at: float  # percent of the axis, from its low end
    label: str


class Series(NamedTuple):
    name: str
    style: str  # class in the style sheet
    xs: Sequence[float]
    ys: Sequence[float]
    dots: bool = False  # mark each value


class Curve(NamedTuple):
    name: str
    style: str
    points: str  # of an SVG polyline, x and y in percent, y downwards
    dots: list[tuple[float, float]]  # percent from left, percent from below
    last: str


class Chart(NamedTuple):
    curves: list[Curve]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def line_chart(series: Sequence[Series], digits: int | None = None, from_zero: bool = False) -> Chart:
    """A chart that holds all series; `digits` after the decimal point in its labels, or as many as are needed."""
    xs = [x for one in series for x in one.xs]
    ys = [y for one in series for y in one.ys]
    x_low, x_high = 0.0, max(xs)
    y_low, y_high = 0.0 if from_zero else min(ys), max(ys)
    y_ticks = nice_ticks(y_low, y_high, 5)
    y_low, y_high = min(y_low, y_ticks[0]), max(y_high, y_ticks[-1])
    curves = [_curve(one, (x_low, x_high), (y_low, y_high), digits) for one in series]
    return Chart(
        curves,
        [Tick(_percent(x, x_low, x_high), short(x)) for x in nice_ticks(x_low, x_high) if x <= 1.01 * x_high],
        [Tick(_percent(y, y_low, y_high), plain(y)) for y in y_ticks],
    )


def _curve(series: Series, x_range: tuple[float, float], y_range: tuple[float, float], digits: int | None) -> Curve:
    xs, ys = thinned(series.xs), thinned(series.ys)
    places = [(_percent(x, *x_range), _percent(y, *y_range)) for x, y in zip(xs, ys, strict=True)]
    last = plain(series.ys[-1]) if digits is None else f"{series.ys[-1]:.{digits}f}"
    return Curve(
        series.name,
        series.style,
        " ".join(f"{x:.2f},{100 - y:.2f}" for x, y in places),
        [(round(x, 2), round(y, 2)) for x, y in places] if series.dots else [],
        last,
    )


def thinned(values: Sequence[float], max_points: int = MAX_POINTS) -> list[float]:
    """Means of at most `max_points` runs of equal length; the values themselves if there are no more."""
    run = math.ceil(len(values) / max_points)
    return [sum(values[start : start + run]) / len(values[start : start + run]) for start in range(0, len(values), run)]


def smoothed(values: Sequence[float], width: int) -> list[float]:
    """Means over the `width` values up to each."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    return [(sums[end] - sums[start]) / (end - start) for end in range(1, len(sums)) for start in [max(0, end - width)]]


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten), about `count` steps apart, around low and high."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _percent(value: float, low: float, high: float) -> float:
    return 100 * (value - low) / (high - low) if high > low else 0.0


def count(number: float) -> str:
    return f"{number:,.0f}"


def short(number: float) -> str:
    """Such as `1.3M`, `250k`, `12`."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.3g}{unit}" if abs(number) < 1000 * limit else f"{number / limit:,.0f}{unit}"
    return f"{number:.3g}"


def plain(number: float) -> str:
    """Four digits at most, and no exponent before there are many zeros."""
    return f"{number:.0e}".replace("e-0", "e-") if 0 < abs(number) < 1e-3 else f"{number:.4g}"


def size(number: float) -> str:
    """Bytes, such as `12.3 MB`."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}" if number < 1000 * limit else f"{number / limit:,.0f} {unit}"
    return f"{number:.0f} bytes"


def money(amount: float) -> str:
    """In whatever the price was given: such as `1,234.50`, and `0.0042` where two digits would say nothing."""
    return f"{amount:,.2f}" if amount >= 0.1 or not amount else f"{amount:.2g}"


def duration(seconds: float) -> str:
    """Such as `2 h 5 min`, `1 min 30 s`, `0.4 s`."""
    if 0 < seconds < 0.05:
        return "under 0.1 s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def percent(share: float) -> str:
    """Such as `31%`, `0.4%`; never 0% or 100% for a share that is not."""
    digits = 0 if 0.095 <= share <= 0.995 or share in (0, 1) else 1 if 0.001 <= share <= 0.9995 else 2
    return f"{100 * share:.{digits}f}%"


def percent_exactly(share: float) -> str:
    """Such as `-1.23%`: what is compared with a limit is not rounded to whole numbers."""
    return f"{share:.2%}".replace("-0.00%", "0.00%")


def words(name: str) -> str:
    return name.replace("_", " ")


def plural(number: float, noun: str) -> str:
    return f"{number:,.0f} {noun}" if number == 1 else f"{number:,.0f} {noun}s"
