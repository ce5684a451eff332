"""The scaling law of docs/benchmarks/ladder.md, as `python -m benchmarks.ladder` fitted it, and where it holds."""

from minimind.training.scaling import Ladder, Law, Range

LADDER = Ladder(
    law=Law(
        irreducible=0.730978,
        parameter_term=27.0473,
        token_term=86.2509,
        parameter_exponent=0.353,
        token_exponent=0.353,
    ),
    parameters=Range(410_240, 2_508_736),
    tokens=Range(397_312, 2_396_160),
    batch_tokens=Range(4_096, 4_096),
    ratio=Range(0.967, 1.032),
)
