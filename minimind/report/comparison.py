"""The page of a comparison: `comparison.html`, one file without scripts, from the comparison's JSON object alone."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minimind.report.figures import Series, Tick, count, duration, line_chart, money, nice_ticks, plain, short, size
from minimind.report.page import write_page

View = dict[str, Any]
MAX_HISTORY = 30  # versions drawn, the newest
MAX_LABELS = 8  # below such a drawing

SPENT = (("training_seconds", "seconds of training", duration), ("cost", "cost of training", money))
TONES = {"better": "good", "worse": "held", "no_difference": "held", "unclear": "held"}


def render_comparison(comparison: Mapping[str, Any], path: Path) -> None:
    """Writes the page to `path`, its folder included. The same comparison gives the same bytes."""
    versions = comparison["versions"]
    write_page(
        path,
        "comparison.html.jinja",
        name=comparison["name"],
        heading=_heading(comparison),
        tone=TONES[comparison["verdict"]],
        sentence=comparison["sentence"],
        baseline=comparison["baseline"],
        candidate=comparison["candidate"],
        scores=_scores(versions, comparison),
        difference=_forest(comparison),
        against=_against(comparison["comparisons"]) if len(comparison["comparisons"]) > 1 else None,
        knows_seeds="seeds" in comparison["interval"]["covers"],
        seed_spread=comparison["seed_spread"],
        unchecked=comparison["unchecked"],
        holdout=comparison["holdout"],
        documents=comparison["changed_documents"],
        samples=comparison["samples"],
        costs=[_costs(version) for version in versions],
        priced=any("cost" in version["costs"] for version in versions),
        scatters=[_scatter(versions, *what) for what in SPENT if all(what[0] in one["costs"] for one in versions)],
        history=_history(comparison["history"]),
    )


def _heading(comparison: Mapping[str, Any]) -> str:
    one, other = f"Version {comparison['candidate']}", f"version {comparison['baseline']}"
    return {
        "better": f"{one} is better than {other}",
        "worse": f"{one} is worse than {other}",
        "no_difference": f"{one} differs from {other} by no more than chance",
        "unclear": f"Whether {one.lower()} is better than {other} is not clear",
    }[comparison["verdict"]]


def _scores(versions: Sequence[View], comparison: Mapping[str, Any]) -> View:
    highest = max(version["bits_per_byte"] for version in versions)
    rows = [
        {
            "label": f"Version {version['version']}",
            "note": "champion" if version["champion"] else "",
            "style": "model" if version["version"] == comparison["candidate"] else "champion",
            "value": version["bits_per_byte"],
            "percent": 100 * version["bits_per_byte"] / highest,
        }
        for version in versions
    ]
    alt = "; ".join(f"{row['label']}: {row['value']:.4f}" for row in rows)
    return {"rows": rows, "alt": f"Bits per byte on the same holdout documents. {alt}."}


# --- differences with their intervals ---------------------------------------------------------------------------------


def _forest(comparison: Mapping[str, Any]) -> View:
    """The change in percent, of the whole and by source, each with its interval on one scale around zero."""
    by_source = comparison["by_source"]
    rows = [{"name": source, **one} for source, one in by_source.items()] if len(by_source) > 1 else []
    return _drawn([*rows, {**comparison, "name": "all documents"}])


def _against(comparisons: Sequence[View]) -> View:
    return _drawn([{"name": f"version {one['candidate']}", **one} for one in comparisons])


def _drawn(rows: Sequence[Mapping[str, Any]]) -> View:
    reach = max(
        abs(edge)
        for row in rows
        for edge in (row["effect"]["percent"], *row["interval"]["percent"])
        if edge is not None
    )
    ticks = nice_ticks(-reach, reach) if reach else [0.0]
    reach = max(abs(ticks[0]), abs(ticks[-1])) or 1.0

    def place(percent: float) -> float:
        return round(50 + 50 * percent / reach, 2)

    drawn = []
    for row in rows:
        low, high = row["interval"]["percent"]
        drawn.append(
            {
                "name": row["name"],
                "documents": row["documents"],
                "baseline": row["bits_per_byte"]["baseline"],
                "candidate": row["bits_per_byte"]["candidate"],
                "percent": f"{row['effect']['percent']:+.2f}%",
                "interval": "–" if low is None else f"{low:+.2f}% to {high:+.2f}%",
                "verdict": row["verdict"].replace("_", " "),
                "at": place(row["effect"]["percent"]),
                "span": None if low is None else (place(low), round(place(high) - place(low), 2)),
            }
        )
    told = "; ".join(f"{row['name']} {row['percent']} ({row['interval']})" for row in drawn)
    return {
        "rows": drawn,
        "ticks": [(place(tick), f"{tick:+g}%" if tick else "0") for tick in (ticks[0], 0.0, ticks[-1])],
        "alt": f"Change in bits per byte with 95% intervals, fewer is better: {told}.",
    }


# --- cost and time ----------------------------------------------------------------------------------------------------


def _costs(version: Mapping[str, Any]) -> View:
    """A row of the table; a dash where the version's run does not say."""
    costs = version["costs"]
    shown = {
        "parameters": short,
        "tokens": short,
        "training_seconds": duration,
        "cost": money,
        "train_documents": count,
        "train_bytes": size,
    }
    return {
        "version": version["version"],
        "created_at": _date(version["created_at"]),
        "bits_per_byte": version["bits_per_byte"],
        **{name: form(costs[name]) if name in costs else "–" for name, form in shown.items()},
    }


def _scatter(versions: Sequence[View], key: str, what: str, form: Callable[[float], str]) -> View:
    """Bits per byte over what was spent on the training, which every version has to say."""
    spent = [version["costs"][key] for version in versions]
    quality = [version["bits_per_byte"] for version in versions]
    y_ticks = nice_ticks(min(quality), max(quality))
    x_ticks = nice_ticks(0, max(spent))

    def at(value: float, ticks: Sequence[float]) -> float:
        return round(100 * (value - ticks[0]) / (ticks[-1] - ticks[0]), 2)

    points = [
        {"left": at(x, x_ticks), "bottom": at(y, y_ticks), "label": f"version {version['version']}"}
        for x, y, version in zip(spent, quality, versions, strict=True)
    ]
    told = "; ".join(
        f"version {v['version']}: {form(x)}, {y:.4f}" for v, x, y in zip(versions, spent, quality, strict=True)
    )
    return {
        "points": points,
        "x_ticks": [Tick(at(tick, x_ticks), short(tick)) for tick in x_ticks],
        "what": what.capitalize(),
        "y_ticks": [Tick(at(tick, y_ticks), plain(tick)) for tick in y_ticks],
        "alt": f"Bits per byte over {what}: {told}.",
    }


def _history(rows: Sequence[View]) -> list[View]:
    """A chart of each figure over the versions; none where fewer than two versions say it."""
    charts = []
    for key, title, form, from_zero in (
        ("bits_per_byte", "Bits per byte, each on the holdout of its time", "{:.3f}".format, False),
        ("train_bytes", "Training text, MB", "{:.3g} MB".format, True),
        ("training_seconds", "Training, seconds", "{:,.0f} s".format, True),
        ("cost", "Training, cost", money, True),
    ):
        scale = 1e-6 if key == "train_bytes" else 1.0
        known = [(row["version"], row[key] * scale) for row in rows if row[key] is not None][-MAX_HISTORY:]
        if len(known) < 2:
            continue
        xs, ys = list(range(1, len(known) + 1)), [value for _, value in known]
        chart = line_chart([Series(title, "train", xs, ys, dots=True)], from_zero=from_zero)
        every = -(-len(known) // MAX_LABELS)
        ticks = [Tick(100 * x / len(known), version) for x, (version, _) in zip(xs, known, strict=True)][::-every]
        told = ", ".join(f"version {version} {form(value)}" for version, value in known)
        charts.append({"title": title, "chart": chart._replace(x_ticks=ticks), "alt": f"{title}: {told}."})
    return charts


def _date(milliseconds: float) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d}"
