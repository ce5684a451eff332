"""The Markdown page of the ladder."""

from collections.abc import Sequence

from benchmarks.ladder.fit import EXPONENT, Row, expected, free_fit, ladder_of, left_out_errors, range_of, rms
from minimind.training.scaling import Law

ROWS_TO_FIT = 4  # three terms, and something left to be wrong about

HEAD = """# A ladder of small models

Made by `python -m benchmarks.ladder` from `ladder.json`, which has machine and commit of every run. Each row is a
training of its own, by the recipe of configs/demo.yaml, to the end of its decay. *parameters* count the embedding;
*expected* is by the law below, in which parameters beyond what the corpus can fill count less (docs/training.md). The
holdout is one of fifty documents, uncleaned."""


def render(rows: Sequence[Row]) -> str:
    fitted = [row for row in rows if not row["check"]]
    law = ladder_of(rows).law if len(fitted) >= ROWS_TO_FIT else None
    parts = [HEAD, table(fitted, law)]
    if law:
        checks = [row for row in rows if row["check"]]
        others = (
            table(checks, law) if checks else "Not measured yet: what is expected is meant for text like that above."
        )
        parts += [describe_law(law, fitted), "## Other corpora", others, describe_ratio(rows)]
    return "\n\n".join(parts) + "\n"


def table(rows: Sequence[Row], law: Law | None) -> str:
    lines = [
        "| corpus | size | parameters | tokens | steps | bits per byte | expected | off by | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (row["corpus"], row["parameters"], row["tokens"], row["seed"])):
        score, foreseen = row["bits_per_byte"], expected(law, row) if law else None
        by_law = f"{foreseen:.4f} | {score / foreseen - 1:+.1%}" if foreseen else " | "
        lines.append(
            f"| {row['corpus']} | {row['size']} | {row['parameters'] / 1e6:.2f}M | {row['tokens']:,} | {row['steps']} "
            f"| {score:.4f} | {by_law} | {row['cpu_seconds']:,.0f} |"
        )
    return "\n".join(lines)


def describe_law(law: Law, rows: Sequence[Row]) -> str:
    free = free_fit(rows)
    parameters, tokens = range_of(rows, "parameters"), range_of(rows, "tokens")
    ratio = (law.token_term / law.parameter_term) ** (1 / EXPONENT) if law.parameter_term else float("inf")
    worst = max(map(abs, left_out_errors(rows)))
    return f"""## The law

    L(N, D) = {law.irreducible:.6g} + {law.parameter_term:.6g} / N^{EXPONENT} + {law.token_term:.6g} / D^{EXPONENT}

bits per byte, fitted to {len(rows)} rows by least squares of relative errors. Three numbers are fitted; the exponents
are those of Muennighoff et al. 2023 (Chinchilla's form on C4), as so few and so small models do not tell them.
Errors: {rms(law, rows):.2%} (root mean square), at most {worst:.2%} for a row that is left out of the fit. With free
exponents the best are {free.parameter_exponent:.2f} and {free.token_exponent:.2f}, with errors of
{rms(free, rows):.2%}: {len(rows)} rows and five numbers. By this law {ratio:.0f} tokens a parameter are
compute-optimal (Chinchilla's: 20).

**Measured were {parameters.low / 1e6:.2f}M to {parameters.high / 1e6:.2f}M parameters and {tokens.low / 1e6:.2f}M to
{tokens.high / 1e6:.2f}M tokens. What the law says of 26M to 124M parameters is extrapolated.** One seed a row; seeds of
one recipe differ by 1 to 2%."""


def describe_ratio(rows: Sequence[Row]) -> str:
    ratio = ladder_of(rows).ratio
    return (
        f"A plan's range of expected bits per byte is {ratio.low:.3f} to {ratio.high:.3f} times the law: that of "
        "found over\nexpected in all rows of this page, and on either side 2% more for other seeds and the greatest "
        "error of a row that\nwas left out of the fit: three numbers fit few rows better than they foretell another."
    )
