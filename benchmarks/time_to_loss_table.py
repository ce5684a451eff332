"""The Markdown page made from the rows of the time-to-loss benchmark."""

import statistics
from dataclasses import dataclass
from typing import Any

from benchmarks.recipe.recipes import BASELINES
from benchmarks.recipe.table import crossing, grouped
from benchmarks.rows import Row

SETTING = ("corpus", "preset", "device", "torch", "window", "holdout_windows", "compiling", "threads")
UNITS = {"seconds": "train_seconds", "cpu_seconds": "train_cpu_seconds", "tokens": "tokens"}  # of a curve, of a row

HEAD = """# Time to loss

Made by `python -m benchmarks.time_to_loss` from `time_to_loss.json`, which has curves, machine, commit and date of
every run. A baseline trains for its whole budget; ours must reach its final bits per byte. *own run*: the shortest of
our complete runs, each with its decay, that ended at or below that. *interpolated*: between this run and the next
shorter one, on a straight line; as the own run where there is no shorter one. *on its way*: when our longest run passed
the baseline's score, long before its own decay. All are shares of what the baseline took to its end, evaluations
left out; *with compilation* adds the first step of each. "not": no run was as good."""


def render(rows: list[Row]) -> str:
    settings = grouped(rows, SETTING).items()
    return "\n\n".join([HEAD, *(part for setting, found in settings for part in tables(setting, found))]) + "\n"


def tables(setting: tuple[Any, ...], rows: list[Row]) -> list[str]:
    corpus, preset, device, torch_version, window, windows, compiling, threads = setting
    ours = grouped([row for row in rows if row["recipe"] == "ours"], ("seed",))
    parts = [
        f"## {corpus}, {preset}, {device}\n\n"
        f"torch {torch_version}, {rows[0]['machine']['processor']}, {rows[0]['machine']['cores']} cores, threads "
        f"{threads}, {'compiled' if compiling else 'eager'}, {min(row['parameters'] for row in rows) / 1e6:.2f}M "
        f"parameters, {windows} holdout windows of {window} predictions, commit "
        f"{', '.join(sorted({str(row['commit'])[:12] for row in rows}))}, "
        f"{max(row['measured_at'] for row in rows)[:10]}.",
        runs_table(rows),
    ]
    for name in BASELINES:
        for (budget,), found in grouped([row for row in rows if row["recipe"] == name], ("budget",)).items():
            parts.append(baseline_table(f"### {name}, {budget}", found, ours))
    return parts


def runs_table(rows: list[Row]) -> str:
    lines = ["| recipe | budget | seeds | steps | tokens | bits per byte | seconds | CPU s | first step, s |",
             "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for (name, budget), found in sorted(
        grouped(rows, ("recipe", "budget")).items(), key=lambda group: (group[0][0], group[1][0]["tokens"])
    ):
        mean = {
            key: statistics.mean(row[key] for row in found)
            for key in ("steps", "tokens", "bits_per_byte", "train_seconds", "train_cpu_seconds", "first_step_seconds")
        }
        lines.append(
            f"| {name} | {budget} | {len(found)} | {mean['steps']:,.0f} | {mean['tokens']:,.0f} "
            f"| {mean['bits_per_byte']:.4f} | {mean['train_seconds']:.1f} | {mean['train_cpu_seconds']:.1f} "
            f"| {mean['first_step_seconds']:.1f} |"
        )
    return "\n".join(lines)


def baseline_table(title: str, baseline: list[Row], ours: dict[tuple[Any, ...], list[Row]]) -> str:
    lines = [title, "",
             "| seed | its bits per byte | own run | its bits per byte | seconds | CPU s | tokens | with compilation "
             "| interpolated seconds | CPU s | tokens | on its way: seconds | tokens |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    answers = []
    for row in sorted(baseline, key=lambda row: row["seed"]):
        own = ours.get((row["seed"],), [])
        if own:
            answers.append((row, reach(row, own)))
    lines += [seed_line(row, answer) for row, answer in answers]
    columns = (
        *(("shares", unit) for unit in ("seconds", "cpu_seconds", "tokens", "compiled_seconds")),
        *(("interpolated", unit) for unit in UNITS),
        *(("passed", unit) for unit in ("seconds", "tokens")),
    )
    found = [[getattr(answer, part).get(unit) for _, answer in answers] for part, unit in columns]
    lines.append(f"| mean |  |  |  | {' | '.join(mean_of(values) for values in found)} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Answer:
    run: Row | None  # the shortest that was as good
    shares: dict[str, float]  # of the baseline's cost, by unit
    interpolated: dict[str, float]
    passed: dict[str, float]  # by the longest run, on its way


def reach(baseline: Row, own: list[Row]) -> Answer:
    """What ours needed, as shares of what the baseline took. Without a run that was as good, all is empty."""
    runs = sorted(own, key=lambda row: row["train_seconds"])
    score = baseline["bits_per_byte"]
    place = next((number for number, run in enumerate(runs) if run["bits_per_byte"] <= score), None)
    longest = {unit: crossing(runs[-1]["curve"], score, unit) for unit in UNITS}
    passed = {unit: at / baseline[UNITS[unit]] for unit, at in longest.items() if at is not None}
    if place is None:
        return Answer(None, {}, {}, passed)
    run = runs[place]
    shares = {unit: run[name] / baseline[name] for unit, name in UNITS.items()}
    shares["compiled_seconds"] = with_first_step(run) / with_first_step(baseline)
    return Answer(run, shares, interpolated(baseline, runs[: place + 1]), passed)


def interpolated(baseline: Row, runs: list[Row]) -> dict[str, float]:
    """By a straight line between the last of `runs`, which is as good as the baseline, and the one before."""
    reached = runs[-1]
    if len(runs) == 1:
        return {unit: reached[name] / baseline[name] for unit, name in UNITS.items()}
    before = runs[-2]
    share = (before["bits_per_byte"] - baseline["bits_per_byte"]) / (before["bits_per_byte"] - reached["bits_per_byte"])
    return {
        unit: (before[name] + share * (reached[name] - before[name])) / baseline[name] for unit, name in UNITS.items()
    }


def with_first_step(row: Row) -> float:
    return float(row["train_seconds"] + row["first_step_seconds"])


def seed_line(row: Row, answer: Answer) -> str:
    run = answer.run
    own = f"{run['budget']} | {run['bits_per_byte']:.4f}" if run else "not | "
    cells = [
        *(share_of(answer.shares, unit) for unit in ("seconds", "cpu_seconds", "tokens", "compiled_seconds")),
        *(share_of(answer.interpolated, unit) for unit in UNITS),
        *(share_of(answer.passed, unit) for unit in ("seconds", "tokens")),
    ]
    return f"| {row['seed']} | {row['bits_per_byte']:.4f} | {own} | {' | '.join(cells)} |"


def share_of(shares: dict[str, float], unit: str) -> str:
    return f"{shares[unit]:.3f}" if unit in shares else ""


def mean_of(values: list[float | None]) -> str:
    """Empty where a seed has none."""
    known = [value for value in values if value is not None]
    return f"{statistics.mean(known):.3f}" if known and len(known) == len(values) else ""
