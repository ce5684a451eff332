"""The Markdown page made from the rows of the warm start benchmark."""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from benchmarks.recipe.table import difference
from benchmarks.rows import Row

SETTING = ("corpus", "every", "old", "preset", "vocabulary_size", "tokens")

HEAD = """# Starting from the model in use

Made by `python -m benchmarks.warm_start` from `warm_start.json`, which has the curve, machine and commit of every run.
*bits per byte* is that of the second month's whole holdout, mean over seeds; *old* and *new* are its documents by the
month in which they came. *against scratch* is the mean of the differences seed by seed with its standard error; below
zero is better than from scratch. *as good as scratch after* is the share of its tokens after which a run had the final
score of the run from scratch with the same seed, on the part of the holdout that training watches. *old share* is that
of the tokens in an epoch. CPU seconds are those of the training process, on a machine that did other things too."""


def render(rows: list[Row], says: Mapping[str, str]) -> str:
    settings: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        settings[tuple(row[key] for key in SETTING)].append(row)
    return "\n\n".join([HEAD, *(setting_table(found, says) for found in settings.values())]) + "\n"


def setting_table(rows: list[Row], says: Mapping[str, str]) -> str:
    first = rows[0]
    arms: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        arms[row["arm"]].append(row)
    scratch = {row["seed"]: row for row in arms.get("scratch", [])}
    lines = [
        f"## {first['corpus']}, the first month has {'a random half' if first['old'] == 'random' else 'law alone'}, "
        f"{first['tokens']} tokens a training",
        "",
        f"Every {first['every']}th document, {first['preset']} ({first['parameters'] / 1e6:.2f}M parameters, "
        f"vocabulary {first['vocabulary_size']:,}), holdout {first['holdout_documents']} documents, "
        f"{first['holdout_bytes'] / 1e3:,.0f} kB, {first['machine']['processor']}.",
        "",
        "| run | what | seeds | bits per byte | old | new | against scratch | as good as scratch after | old share "
        "| epochs | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    order = [name for name in says if name in arms]
    return "\n".join(lines + [arm_line(name, says[name], arms[name], scratch) for name in order])


def arm_line(name: str, says: str, rows: list[Row], scratch: Mapping[int, Row]) -> str:
    def mean(key: str) -> float:
        return statistics.mean(row[key] for row in rows)

    cpu = [row["cpu_seconds"] for row in rows if row["cpu_seconds"] is not None]
    scores = " | ".join(f"{mean(key):.4f}" for key in ("bits_per_byte", "old_bits_per_byte", "new_bits_per_byte"))
    return (
        f"| {name} | {says} | {len(rows)} | {scores} | {difference(rows, scratch)} | {reached(rows, scratch)} "
        f"| {mean('old_share'):.0%} | {mean('epochs'):.2f} | {f'{statistics.median(cpu):.0f}' if cpu else ''} |"
    )


def reached(rows: list[Row], scratch: Mapping[int, Row]) -> str:
    """Mean over seeds, `not` where one never was as good; of runs on the second month's documents."""
    pairs = [(row, scratch[row["seed"]]) for row in rows if row["seed"] in scratch]
    if not pairs or rows[0]["arm"] in ("scratch", "first"):
        return ""
    shares = [crossing(row["curve"], other["curve"][-1]["bits_per_byte"]) for row, other in pairs]
    known = [share for share in shares if share is not None]
    return f"{statistics.mean(known):.2f}" if len(known) == len(shares) else "not"


def crossing(curve: list[dict[str, float]], score: float) -> float | None:
    """The share of its tokens after which a curve has fallen to `score`, linear between two evaluations."""
    before = None
    for point in curve:
        if point["bits_per_byte"] <= score:
            reached = point["tokens"]
            if before is not None:
                way = (before["bits_per_byte"] - score) / (before["bits_per_byte"] - point["bits_per_byte"])
                reached = before["tokens"] + way * (point["tokens"] - before["tokens"])
            return reached / curve[-1]["tokens"]
        before = point
    return None
