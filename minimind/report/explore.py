"""The page of an exploration: `explore.html`, the audit, the small trainings and the verdict. One file, no scripts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minimind.config import Config
from minimind.explore.verdict import Verdict
from minimind.masking import masked
from minimind.report import views
from minimind.report.cleaning import cleaning_part
from minimind.report.figures import Series, count, duration, line_chart, percent, size
from minimind.report.page import write_page
from minimind.store import STAGES, Manifest

View = dict[str, Any]
STAGE_ORDER = (*STAGES[:4], "explore")
KINDS = {"training": "the training", "text": "the text", "both": "both"}
PARTS = {1.0: "all of it", 0.5: "a half", 0.25: "a quarter"}


def render_explored(
    config: Config, stages: Mapping[str, Manifest], verdict: Verdict, yaml_text: str, yaml_name: str, path: Path
) -> None:
    """Writes the page to `path`, its folder included. The same manifests and verdict give the same bytes."""
    ordered = {stage: stages[stage] for stage in STAGE_ORDER if stage in stages}
    write_page(
        path,
        "explore.html.jinja",
        config=config,
        verdict=verdict,
        numbers=_numbers(ordered, verdict),
        created_at=ordered["cleaning"].created_at,
        cleaning=cleaning_part(ordered, opens=False),
        trial=_trial(ordered["explore"]) if "explore" in ordered else None,
        gains=_gains(verdict),
        supported=_supported(verdict),
        yaml={"name": yaml_name, "text": masked(yaml_text)},
        builds=views.builds(ordered),
        provenance=views.provenance(config, ordered),
    )


def _numbers(stages: Mapping[str, Manifest], verdict: Verdict) -> list[tuple[str, str, str]]:
    counts = stages["cleaning"].counts
    rows = [
        (size(counts["bytes"]), "unique text", f"{percent(counts['bytes'] / counts['bytes_in'])} of what was read"),
        (count(counts["documents"]), "documents", f"of {count(counts['documents_in'])} read"),
    ]
    if "explore" in stages and verdict.advised:
        explored = stages["explore"]
        rows += [
            (f"{explored.counts['bits_per_byte']:.3f}", "bits per byte", "of a tiny model, on documents held back"),
            (f"{explored.counts['zstd_bits_per_byte']:.3f}", "zstd -19", "the same, by a compressor with a dictionary"),
            (verdict.advised.preset, "preset", f"for {verdict.advised.budget}"),
        ]
    return rows


def _trial(explored: Manifest) -> View:
    trials, curve = explored.details["trials"], explored.details["curve"]
    highest = max(row["bits_per_byte"] for row in trials)
    chart = line_chart(
        [Series("holdout", "holdout", [row["tokens"] for row in curve], [row["bits_per_byte"] for row in curve], True)],
        digits=2,
    )
    return {
        "rows": [
            row
            | {
                "name": PARTS[row["share"]],
                "epochs": row["tokens"] / row["unique_tokens"],
                "percent": round(100 * row["bits_per_byte"] / highest, 2),
                "interval": f"{row['low']:.2f} to {row['high']:.2f}" if row["low"] is not None else "–",
            }
            for row in trials
        ],
        "curve": {
            "chart": chart,
            "alt": "Bits per byte of the holdout by tokens trained on. "
            + "; ".join(f"{count(row['tokens'])}: {row['bits_per_byte']:.3f}" for row in curve),
        },
        "samples": explored.details["samples"],
        "holdout": explored.details["holdout"],
        "parameters": explored.counts["parameters"],
        "seconds": explored.counts["training_seconds"],
        "speed": explored.counts["tokens_per_second"],
    }


def _gains(verdict: Verdict) -> View | None:
    if verdict.gains is None:
        return None
    highest = max(row["high"] for row in verdict.gains) or 1.0
    return {
        "rows": [
            {
                "name": f"{row['factor']} times {KINDS[row['kind']]}",
                "value": row["value"],
                "interval": f"{row['low']:.2f} to {row['high']:.2f}",
                "bits_per_byte": row["bits_per_byte"],
                "marks": [("model", 100 * row["value"] / highest)]
                + [("zstd", 100 * row[end] / highest) for end in ("low", "high")],
            }
            for row in verdict.gains
        ],
        "scale": f"{highest:.2f}",
    }


def _supported(verdict: Verdict) -> list[View] | None:
    if verdict.supported is None:
        return None
    return [
        row._asdict() | {"advised": row == verdict.advised, "took": duration(row.seconds)} for row in verdict.supported
    ]
