"""The Markdown page made from the rows of the near-duplicate benchmark."""

from collections.abc import Iterable, Sequence

from benchmarks.cleaning.ours import OTHER_STEPS
from benchmarks.rows import Row

TITLES = {"ours": "this project", "datatrove": "datatrove", "text_dedup": "text-dedup"}
HEAD = """# Near-duplicates

Made by `python -m benchmarks.cleaning.near_duplicates` from `near-duplicates.json`, which also has versions, every
run, and the seconds of every step of ours. Each tool is a fresh process on the same files, from its start to finished
files, on {cores} cores. *found* is the share of true pairs (J over sets of 5-word shingles, all of them found by an
exact join) whose documents the tool puts into one cluster, chains included; *pairs left* are true pairs with J ≥ 0.8
of which it keeps both; *removed rightly* is the share of removed documents with a kept one at or above the tool's own
threshold ({thresholds}). *other load* is how many cores other processes used meanwhile: above zero, compare CPU
seconds and ratios rather than seconds. Memory is resident memory of all processes together, pages that several share
divided among them.
"""


def key_of(row: Row) -> tuple[str, str, str, int, str | None]:
    """Versions of a peer stay apart."""
    version = None if row["tool"] == "ours" else row.get("version")
    return row["input"]["sha256"], row["part"], row["tool"], row["cores"], version


def render(rows: Sequence[Row]) -> str:
    rows = sorted(rows, key=lambda row: row["input"]["megabytes"])
    speeds = [row for row in rows if row["part"] == "speed"]
    thresholds = {
        f"{TITLES[row['tool']]} {row['scores']['threshold']:g}": None for row in speeds if row.get("scores")
    }  # fmt: skip
    cores = ", ".join(sorted({str(row["cores"]) for row in rows}))
    parts = [HEAD.format(cores=cores, thresholds=", ".join(thresholds) or "where truth was taken")]
    for sha256 in dict.fromkeys(row["input"]["sha256"] for row in rows):
        of_input = [row for row in rows if row["input"]["sha256"] == sha256]
        parts.append(describe_input(of_input[0]["input"]))
        if any(row["part"] == "speed" for row in of_input):
            parts.append(speed_table([row for row in of_input if row["part"] == "speed"]))
        parts += [row["summary"] for row in of_input if row["part"] != "speed"]
        parts.append(machines(of_input))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def describe_input(described: Row) -> str:
    kinds = ", ".join(
        f"{described[kind]:,} {name}"
        for kind, name in (
            ("original", "originals"),
            ("near", "near-copies"),
            ("exact", "exact copies"),
            ("new", "rewritten"),
        )
        if described.get(kind)
    )
    return f"## {described['megabytes']:,.1f} MB of {' and '.join(described['made_of'])}\n\nDocuments: {kinds}."


def speed_table(rows: Sequence[Row]) -> str:
    ours = next((row for row in rows if row["tool"] == "ours"), None)
    header = [
        "tool", "version", "seconds", "ours is faster", "CPU seconds", "by CPU", "peak MB", "found, J ≥ 0.8",
        "found, J ≥ 0.7", "pairs left", "removed rightly", "other load",
    ]  # fmt: skip
    lines = [line_of(header), line_of(["---", "---", *["---:"] * (len(header) - 2)])]
    for row in sorted(rows, key=lambda row: list(TITLES).index(row["tool"])):
        score = row.get("scores", {})
        cells = [
            TITLES[row["tool"]],
            row["version"][:10],
            f"{row['seconds']:,.1f}",
            times(row["seconds"], ours and ours["seconds"]),
            f"{row['cpu_seconds']:,.1f}",
            times(row["cpu_seconds"], ours and ours["cpu_seconds"]),
            f"{row['peak_pss_mb']:,.0f}",
            *(known(score.get(name)) for name in ("recall_0.8", "recall_0.7", "pairs_left_0.8", "removed_rightly")),
            f"{row['other_cores']:.1f} cores",
        ]
        lines.append(line_of(cells))
    counted = next((row["scores"] for row in rows if row.get("scores")), None)
    if counted:
        lines += ["", f"True pairs: {counted['pairs_0.8']:,} with J ≥ 0.8, {counted['pairs_0.7']:,} with J ≥ 0.7."]
    if ours:
        lines += ["", "Longest steps of ours, CPU seconds of its last run: " + longest(ours["steps"]) + "."]
        lines += ["", other_work(ours["steps"])]
    return "\n".join(lines)


def other_work(steps: dict[str, dict[str, float]]) -> str:
    """What ours does for other ends than near-duplicates, and what is left without it."""
    spent = {name.partition(": ")[2]: step["cpu_seconds"] for name, step in steps.items()}
    other = {name: spent[name] for name in OTHER_STEPS if name in spent}
    rest = sum(spent.values()) - sum(other.values())
    if not other:
        return "All steps of ours serve near-duplicates, or read and write."
    return (
        f"Of these, {sum(other.values()):.1f} CPU seconds are for other ends, which the peers have no part in and the "
        f"config cannot switch off ({', '.join(other)}); {rest:.1f} are left without them."
    )


def longest(steps: dict[str, dict[str, float]], count: int = 8) -> str:
    ordered = sorted(steps.items(), key=lambda step: -step[1]["cpu_seconds"])[:count]
    return ", ".join(f"{name.partition(': ')[2] or name} {spent['cpu_seconds']:.1f}" for name, spent in ordered)


def machines(rows: Iterable[Row]) -> str:
    """On what, when and from which commit the rows were measured."""
    said = {
        f"{row['machine']['processor']}, {row['machine']['cores']} cores, Python {row['machine']['python']}, commit "
        f"{(row['commit'] or 'unknown')[:10]}, {row['at'][:10]}": None
        for row in rows
    }
    return "Measured on: " + "; ".join(said) + "."


def times(seconds: float, ours: float | None) -> str:
    return f"{seconds / ours:.1f}×" if ours else "–"


def known(value: float | int | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def line_of(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
