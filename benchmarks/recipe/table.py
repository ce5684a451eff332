"""The Markdown page made from the rows of the recipe benchmark."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.recipe.recipes import RECIPES
from benchmarks.rows import Row

SETTING = ("corpus", "preset", "budget", "device", "torch", "window", "holdout_windows", "compiling", "threads")

HEAD = """# Recipes

Made by `python -m benchmarks.recipe` from `recipe.json`, which has curves, machine and commit of every run.
*bits per byte* is the holdout's, mean over seeds. *against ours* is the mean of the differences seed by seed with its
standard error; below zero is better than ours. A seed stands for the order of the data and the initial weights.
*ours as good after* is the share of the other recipe's tokens, and of its training seconds, after which ours had that
recipe's final bits per byte, seed by seed as well; "not": in one of them it never had. Both are empty without a seed
that both recipes have. Seconds leave out evaluations and compilation; on a busy machine CPU seconds compare better."""


def render(rows: list[Row]) -> str:
    parts = [HEAD]
    for setting, found in grouped(rows, SETTING).items():
        parts.append(setting_table(setting, found))
    return "\n\n".join(parts) + "\n"


def grouped(rows: list[Row], keys: tuple[str, ...]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups


def setting_table(setting: tuple[Any, ...], rows: list[Row]) -> str:
    corpus, preset, budget, device, torch_version, window, windows, compiling, threads = setting
    recipes = grouped(rows, ("recipe",))
    ours = {row["seed"]: row for row in recipes.get(("ours",), [])}
    lines = [
        f"## {corpus}, {preset}, {budget}, {device}",
        "",
        f"torch {torch_version}, {windows} holdout windows of {window} predictions, "
        f"{', '.join(sorted({row['machine']['processor'] for row in rows}))}, "
        f"threads {threads}, {'compiled' if compiling else 'eager'}, "
        f"{min(row['parameters'] for row in rows) / 1e6:.2f}M parameters.",
        "",
        "| recipe | what differs | seeds | bits per byte | against ours | ours as good after: tokens | seconds "
        "| CPU s a step | tokens/s | loader |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    order = sorted(recipes.values(), key=lambda found: statistics.mean(row["bits_per_byte"] for row in found))
    return "\n".join(lines + [recipe_line(found, ours) for found in order])


def recipe_line(found: list[Row], ours: dict[int, Row]) -> str:
    name = found[0]["recipe"]
    score = statistics.mean(row["bits_per_byte"] for row in found)
    says = RECIPES[name].says if name in RECIPES else ""
    tokens, seconds = (reached(found, ours, unit) for unit in ("tokens", "seconds"))
    median = {
        key: statistics.median(row[key] for row in found)
        for key in ("cpu_seconds_per_step", "tokens_per_second", "loader_share")
    }
    return (
        f"| {name} | {says} | {len(found)} | {score:.4f} | {difference(found, ours)} | {tokens} | {seconds} "
        f"| {median['cpu_seconds_per_step']:.3f} | {median['tokens_per_second']:,.0f} | {median['loader_share']:.2%} |"
    )


def difference(found: Sequence[Row], others: Mapping[int, Row]) -> str:
    """Mean and standard error over the seeds that both have; empty without any, and of runs beside themselves."""
    differences = [row["bits_per_byte"] - other["bits_per_byte"] for row, other in paired(found, others)]
    if not differences:
        return ""
    error = f" ± {statistics.stdev(differences) / len(differences) ** 0.5:.4f}" if len(differences) > 1 else ""
    return f"{statistics.mean(differences):+.4f}{error}"


def reached(found: Sequence[Row], ours: Mapping[int, Row], unit: str) -> str:
    """When ours had the other recipe's final score, as a share of what that took in all: mean over the seeds that both
    have; `not` where it never had, empty as `difference` is."""
    shares = []
    for row, our in paired(found, ours):
        place = crossing(our["curve"], row["bits_per_byte"], unit)
        if place is None:
            return "not"
        shares.append(place / row["curve"][-1][unit])
    return f"{statistics.mean(shares):.2f}" if shares else ""


def paired(found: Sequence[Row], others: Mapping[int, Row]) -> list[tuple[Row, Row]]:
    """By seed; none of runs beside themselves."""
    return [(row, others[row["seed"]]) for row in found if others.get(row["seed"], row) is not row]


def crossing(curve: list[dict[str, float]], score: float, unit: str) -> float | None:
    """Where a curve falls to `score`, linear between two evaluations; its first evaluation is the earliest answer."""
    before = None
    for point in curve:
        if point["bits_per_byte"] <= score:
            if before is None:
                return point[unit]
            share = (before["bits_per_byte"] - score) / (before["bits_per_byte"] - point["bits_per_byte"])
            return before[unit] + share * (point[unit] - before[unit])
        before = point
    return None
