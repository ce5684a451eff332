"""The scaling law of docs/benchmarks/ladder.md, as `python -m benchmarks.ladder` fitted it, and where it holds."""

from minimind.training.scaling import Ladder, Law, Range

LADDER = Ladder(
    law=Law(
        irreducible=0.61147,
        parameter_term=35.1694,
        token_term=101.579,
        parameter_exponent=0.353,
        token_exponent=0.353,
    ),
    parameters=Range(410_240, 1_312_128),
    tokens=Range(397_312, 798_720),
    batch_tokens=Range(4_096, 4_096),
    ratio=Range(0.865, 1.135),
)
