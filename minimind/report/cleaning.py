"""What the cleaning part of a report shows: what was read, what was removed and why, what was changed.

Every part is drawn where the manifest, or the tables beside it, have what it needs, and is left out where they do not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from minimind.audit.documents import has_documents, opened
from minimind.audit.samples import SEED, Example, blacked_out, draw_changes, draw_examples
from minimind.report.figures import count, percent, plural, size, words
from minimind.store import Manifest

Stages = Mapping[str, Manifest]
View = dict[str, Any]

MAX_SOURCES = 12
MAX_LICENSES = 12
MAX_LANGUAGES = 12
MAX_LINES = 20
MAX_UNREADABLE = 20


def cleaning_part(stages: Stages, opens: bool) -> View | None:
    """All of it, None before a cleaning; `opens`: examples are unfolded, on a page of their own."""
    if "cleaning" not in stages:
        return None
    cleaning = stages["cleaning"]
    return {
        "opens": opens,
        "funnel": funnel(cleaning, stages.get("corpus")),
        "lengths": lengths(cleaning),
        "sources": sources(cleaning, stages.get("corpus")),
        "oddities": oddities(cleaning, stages.get("corpus")),
        "languages": languages(cleaning),
        "licenses": licenses(cleaning),
        "clusters": clusters(cleaning),
        "similarities": similarities(cleaning),
        "repeated_lines": repeated_lines(cleaning),
        "personal_data": personal_data(cleaning),
        **drawn(cleaning, stages.get("corpus")),
    }


def audit_heading(cleaning: Manifest) -> View:
    """What stands above the parts on a page of their own."""
    counts = cleaning.counts
    pairs = sum(row["pairs"] for row in cleaning.details.get("similarities") or [])
    numbers = [
        (count(counts["documents"]), "documents kept", f"of {count(counts['documents_in'])} read"),
        (size(counts["bytes"]), "of clean text", f"of {size(counts['bytes_in'])} read"),
        (
            count(counts["removed"]),
            "removed",
            f"{percent(counts['removed'] / counts['documents_in'])} of the documents",
        ),
        (count(counts["holdout_documents"]), "held out", size(counts["holdout_bytes"])),
        (count(pairs), "similar pairs", "compared exactly"),
    ]
    return {
        "title": f"{count(counts['documents'])} of {plural(counts['documents_in'], 'document')} kept",
        "sentence": f"{plural(counts['removed'], 'document')} went, each with its reason, and can be looked up.",
        "created_at": cleaning.created_at,
        "numbers": numbers,
    }


# --- how much ---------------------------------------------------------------------------------------------------------


def funnel(cleaning: Manifest, corpus: Manifest | None) -> View:
    """What was read, what each step removed and why, what is left for training and for the holdout."""
    counts = cleaning.counts
    excluded = corpus.counts.get("excluded", 0) if corpus else 0
    total, left = counts["documents_in"], counts["documents_in"]
    steps = []
    removed_rows = [row for row in cleaning.details["funnel"] if row["reason"] not in ("read", "kept")]
    for step, group in groupby(removed_rows, key=lambda row: str(row["step"])):
        rows = list(group)
        removed = sum(row["documents"] for row in rows)
        steps.append(
            {
                "name": words(step),
                "removed": removed,
                "bytes": sum(row["bytes"] for row in rows),
                "reasons": _reasons(step, rows),
                "before_percent": _share(left, total),
                "left_percent": _share(left - removed, total),
            }
        )
        left -= removed
    return {
        "counts": counts,
        "excluded": excluded,
        "steps": steps,
        "kept_percent": _share(counts["documents"], total),
        "train_percent": _share(counts["train_documents"], total),
        "holdout_percent": _share(counts["holdout_documents"], total),
        "alt": (f"{plural(excluded, 'document')} kept out; " if excluded else "")
        + f"{plural(total, 'document')} read; "
        + "".join(f"{step['name']} removed {count(step['removed'])}; " for step in steps)
        + f"{count(counts['train_documents'])} kept for training, {count(counts['holdout_documents'])} as holdout.",
    }


def _reasons(step: str, rows: Sequence[View]) -> list[View]:
    """The reasons that removed something, the commonest first; none where the step's name says it all."""
    if len(rows) == 1 and step.startswith(rows[0]["reason"]):
        return []
    return sorted((row for row in rows if row["documents"]), key=lambda row: (-row["documents"], row["reason"]))


def lengths(cleaning: Manifest) -> View | None:
    """Documents read and kept by length, from the shortest bin that holds one to the longest."""
    bins = _without_gaps(cleaning.details["lengths"])
    if not bins:
        return None
    highest = max(row["documents_in"] for row in bins)
    every = -(-len(bins) // 6)
    return {
        "bins": [
            row
            | {
                "in_percent": _share(row["documents_in"], highest),
                "kept_percent": _share(row["documents_kept"], highest),
                "label": _binary(row["min_chars"]) if index % every == 0 else "",
            }
            for index, row in enumerate(bins)
        ],
        "highest": highest,
        "alt": "Documents by length in characters, read and kept. "
        + "; ".join(
            f"from {count(row['min_chars'])}: {count(row['documents_in'])} and {count(row['documents_kept'])}"
            for row in bins
        ),
    }


def _without_gaps(rows: Sequence[View]) -> list[View]:
    """The bins from the shortest that holds a document to the longest, with the empty ones between them."""
    held = sorted((row for row in rows if row["documents_in"]), key=lambda row: int(row["min_chars"]))
    bins: list[View] = []
    for row in held:
        while bins and (follows := 2 * bins[-1]["min_chars"] or 1) < row["min_chars"]:
            bins.append({"min_chars": follows, "max_chars": 2 * follows - 1, "documents_in": 0, "documents_kept": 0})
        bins.append(row)
    return bins


def _binary(number: int) -> str:
    """A power of two, such as `512`, `4k` or `1M`."""
    for unit in ("", "k"):
        if number < 1024:
            return f"{number}{unit}"
        number //= 1024
    return f"{number}M"


# --- of what ----------------------------------------------------------------------------------------------------------


def sources(cleaning: Manifest, corpus: Manifest | None) -> View:
    """Documents and text kept by source."""
    read = corpus.details.get("sources", {}) if corpus else {}
    rows = [
        {
            "name": name,
            "documents": row["train_documents"] + row["holdout_documents"],
            "holdout": row["holdout_documents"],
            "bytes": row["bytes"],
            "read": read.get(name, {}).get("documents"),
        }
        for name, row in cleaning.details["sources"].items()
    ]
    rows.sort(key=lambda row: (-row["bytes"], row["name"]))
    highest = max((row["bytes"] for row in rows), default=0)
    return {
        "rows": [row | {"percent": _share(row["bytes"], highest)} for row in rows[:MAX_SOURCES]],
        "more": len(rows) - MAX_SOURCES,
        "alt": "Text kept by source. "
        + "; ".join(f"{row['name']}: {size(row['bytes'])}" for row in rows[:MAX_SOURCES]),
    }


def oddities(cleaning: Manifest, corpus: Manifest | None) -> View | None:
    """What the sources have that became no document, with what is wrong, and what was read in another way."""
    if not corpus:
        return None
    read = corpus.details.get("sources", {}).values()
    rows = [
        {"name": name, "note": note, "value": value}
        for kind, note in (("skipped", "left out"), ("repaired", "documents"))
        for name, value in sum((Counter(source.get(kind, {})) for source in read), Counter()).most_common()
    ]
    if unreadable := corpus.counts.get("unreadable", 0):
        rows.insert(0, {"name": "cannot be read", "note": "left out", "value": unreadable})
    if not rows:
        return None
    listed = corpus.details.get("unreadable", [])[:MAX_UNREADABLE]
    return {
        "bars": _bars("What was left out or read in another way", rows),
        "unreadable": [
            {
                "where": blacked_out(f"{row['path']}, line {row['line']:,}" if row["line"] else row["path"], cleaning),
                "problem": blacked_out(row["problem"], cleaning),
            }
            for row in listed
        ],
        "more": unreadable - len(listed),
    }


def licenses(cleaning: Manifest) -> View | None:
    """Documents kept by licence, the commonest of those read first."""
    rows = [
        (_license_name(row), row["documents_kept"], row["documents_in"])
        for row in cleaning.details.get("licenses") or []
    ]
    return _kept_bars("Documents kept by licence", rows, MAX_LICENSES)


def _license_name(row: View) -> str:
    if row["license"] is None:
        return "others" if row["licenses"] > 1 else "none known"
    return str(row["license"])


def languages(cleaning: Manifest) -> View | None:
    """Documents kept by the language that was found for each, the commonest of those read first."""
    rows = [
        (row["language"] or "unknown", row["documents_kept"], row["documents"])
        for row in cleaning.details.get("languages") or []
    ]
    return _kept_bars("Documents kept by language", rows, MAX_LANGUAGES)


def _kept_bars(title: str, rows: Sequence[tuple[str, int, int]], most: int) -> View | None:
    """Bars of (name, documents kept, documents read), all beyond `most` as one."""
    shown = list(rows[:most])
    if more := rows[most:]:
        shown.append(("others", sum(kept for _, kept, _ in more), sum(read for _, _, read in more)))
    return _bars(title, [{"name": name, "note": f"of {count(read)} read", "value": kept} for name, kept, read in shown])


def personal_data(cleaning: Manifest) -> View | None:
    """How much was found of each kind; never what."""
    did = {"replace": "replaced", "flag": "noted"}
    named = [
        {
            "name": words(row["kind"]),
            "note": f"{did[row['action']]} in {plural(row['documents'], 'document')}" if row["hits"] else "none found",
            "value": row["hits"],
        }
        for row in cleaning.details.get("personal_data") or []
    ]
    return _bars("Personal data by kind", named)


def repeated_lines(cleaning: Manifest) -> View | None:
    """The lines that stand in most of the documents that were looked at, and whether they were cut from them."""
    rows = cleaning.details.get("repeated_lines") or []
    if not rows:
        return None
    lines = [{"text": blacked_out(row["text"], cleaning), "documents": row["documents"]} for row in rows[:MAX_LINES]]
    return {"rows": lines, "cut": any(row["removed"] for row in rows)}


# --- what resembles what ----------------------------------------------------------------------------------------------


def clusters(cleaning: Manifest) -> View | None:
    """Documents by the size of their near-duplicate cluster; those alone in theirs are a number beside it."""
    rows = cleaning.details.get("clusters") or []
    alone = sum(row["documents"] for row in rows if row["max_documents"] == 1)
    named = [
        {"name": _range(row), "note": plural(row["clusters"], "cluster"), "value": row["documents"]}
        for row in rows
        if row["max_documents"] > 1
    ]
    view = _bars("Documents by the size of their cluster", named)
    return view and view | {"alone": alone, "documents": sum(row["value"] for row in named)}


def _range(row: View) -> str:
    """Such as `2 to 3 documents`."""
    return f"{count(row['min_documents'])} to {count(row['max_documents'])} documents"


def similarities(cleaning: Manifest) -> View | None:
    """Pairs by similarity, in columns of two hundredths from the least that is looked for."""
    rows = {round(100 * row["min_jaccard"]): row["pairs"] for row in cleaning.details.get("similarities") or []}
    if not rows:
        return None
    highest = max(rows.values())
    limit = cleaning.config["near_duplicates"]["max_jaccard"]
    bins = [
        {
            "percent": _share(rows.get(hundredth, 0), highest),
            "style": "gone" if hundredth >= round(100 * limit) else "kept",
            "label": f"{hundredth / 100:.1f}" if hundredth % 10 == 0 else "",
        }
        for hundredth in range(min(*rows, 70), 100, 2)
    ]
    return {
        "bins": bins,
        "pairs": sum(rows.values()),
        "highest": highest,
        "limit": limit,
        "alt": "Pairs of documents by Jaccard similarity. "
        + "; ".join(f"from {hundredth / 100:.2f}: {count(pairs)}" for hundredth, pairs in sorted(rows.items())),
    }


# --- which ones -------------------------------------------------------------------------------------------------------


def drawn(cleaning: Manifest, corpus: Manifest | None) -> View:
    """Examples of every reason, and texts before and after; nothing of a build without its tables."""
    if not has_documents(cleaning):
        return {"examples": None, "changes": None, "seed": SEED}
    with opened(cleaning, corpus) as audit:
        return {"examples": _by_reason(draw_examples(audit), cleaning), "changes": draw_changes(audit), "seed": SEED}


def _by_reason(examples: Sequence[Example], cleaning: Manifest) -> list[View]:
    """A group a reason, in the order of the funnel."""
    groups = []
    for row in cleaning.details["funnel"]:
        shown = [one for one in examples if (one.step, one.reason) == (row["step"], row["reason"])]
        if shown:
            step = words(row["step"])
            groups.append({"step": step, "reason": words(row["reason"]), "documents": row["documents"], "shown": shown})
    return groups


# --- drawing ----------------------------------------------------------------------------------------------------------


def _bars(title: str, rows: Sequence[View]) -> View | None:
    """Rows of name, note and value with their share of the largest value; None without any."""
    if not rows:
        return None
    highest = max(row["value"] for row in rows)
    return {
        "title": title,
        "rows": [row | {"percent": _share(row["value"], highest)} for row in rows],
        "alt": f"{title}. " + "; ".join(f"{row['name']}: {count(row['value'])}" for row in rows),
    }


def _share(part: float, whole: float) -> float:
    """Percent, 0 of nothing."""
    return round(100 * part / whole, 3) if whole else 0.0
