"""The evaluation's parts of the report: how sure its scores are, what the model knows, what it repeats."""

from collections.abc import Mapping, Sequence
from typing import Any

from minimind.evaluation.classes import LENGTHS, POSITIONS
from minimind.report.figures import count, duration, percent, size
from minimind.store import Manifest

View = dict[str, Any]

CLASSES = (
    ("lengths", "By length of the document", "Longer documents give the model more to go on."),
    ("positions", "By place in the document", "At the beginning the model knows nothing of the document yet."),
)
QUESTIONS = {
    "continuation": "Which of four passages goes on here",
    "term": "Which of four terms of the field is missing here",
}
MEMORY = {  # by the device, of what peak_memory() in training/dynamics.py is a figure
    "cpu": "the whole program took {} at most",
    "cuda": "on the GPU, tensors took {} at most",
}


def classes(evaluation: Manifest) -> list[View]:
    """A table of bits per byte by length and by place, each value with its interval on one scale."""
    tables = []
    for key, title, remark in CLASSES:
        found = evaluation.details.get(key, {})
        highest = max((row.get("bits_per_byte_high", row["bits_per_byte"]) for row in found.values()), default=1)
        rows = [
            {
                "name": _class(key, name),
                "documents": row["documents"],
                "value": row["bits_per_byte"],
                "interval": interval(row, "bits_per_byte"),
                "marks": _marks(row, "bits_per_byte", highest),
            }
            for name, row in found.items()
        ]
        if len(rows) > 1:
            tables.append({"title": title, "remark": remark, "rows": rows, "scale": f"{highest:.2f}"})
    return tables


def leaks(evaluation: Manifest) -> str | None:
    """What was left out because the model has seen it in training."""
    found = evaluation.details.get("leaks")
    if not found:
        return None
    limit = percent(found["max_overlap"])
    unknown = (
        " What the model that it started from was trained on is not known." if found.get("parent_is_unknown") else ""
    )
    if not found["documents"]:
        return f"None of them shares more than {limit} of its 13-word sequences with the training text.{unknown}"
    one = found["documents"] == 1
    return (
        f"{count(found['documents'])} more {'shares' if one else 'share'} over {limit} of {'its' if one else 'their'} "
        f"13-word sequences with the training text ({size(found['bytes'])}) and {'was' if one else 'were'} left out: "
        f"what was seen in training proves nothing.{unknown}"
    )


def knowledge(evaluation: Manifest) -> list[View]:
    """A row a set of questions: those made of the holdout, the YAML's tasks, those of lm-eval."""
    details = evaluation.details
    rows = []
    for name, row in details.get("generated_questions", {}).items():
        rows.append(_answers(QUESTIONS.get(name, name), row, "accuracy", row["chance"]))
    for name, row in details.get("tasks", {}).items():
        figure = "accuracy" if "accuracy" in row else "exact_match"
        rows.append(_answers(name, row, figure, row.get("chance")))
    for name, row in details.get("harness", {}).items():
        rows += [
            _answers(f"{name}, {figure} (lm-eval)", row, figure, None)
            for figure, value in row.items()
            if not figure.endswith("_stderr") and 0 <= value <= 1
        ]
    return rows


def _answers(name: str, row: Mapping[str, float], figure: str, chance: float | None) -> View:
    marks = _marks(row, figure, 1)
    return {
        "name": name,
        "questions": row.get("questions"),
        "value": percent(row[figure]),
        "interval": interval(row, figure, shares=True),
        "chance": None if chance is None else percent(chance),
        "marks": marks if chance is None else [*marks, ("xz", 100 * chance)],
    }


def safety(evaluation: Manifest) -> list[View]:
    """A row a question that somebody who answers for private text would ask."""
    details = evaluation.details
    learned, personal = details.get("memorisation", {}), details.get("personal_data", {})
    circling = details.get("degeneration", {})
    rows = []
    for split, asked in (
        ("training", "Passages of the training text that it continues word for word"),
        ("holdout", "The same of text that it never saw: formulas that everybody writes"),
    ):
        if f"{split}_share" in learned:
            row = _share(learned, f"{split}_share", f"{count(learned[f'{split}_passages'])} passages, 50 tokens each")
            rows.append({"asked": asked, **row})
    if personal:
        hits, seen = personal["hits"], personal["hits_in_training_text"]
        note = f"{count(personal['texts'])} texts; " + (
            f"{count(hits)} found, {count(seen)} of them in the training text" if hits else "nothing was found"
        )
        asked = "Texts in which addresses, numbers or accounts of persons appear"
        rows.append({"asked": asked, **_share(personal, "texts_share", note)})
    if circling:
        note = f"{count(circling['texts'])} texts; counted if more than half of its four-word sequences stood before"
        rows.append({"asked": "Texts that run in circles", **_share(circling, "degenerate_share", note)})
    return rows


def _share(figures: Mapping[str, float], name: str, note: str) -> View:
    marks = _marks(figures, name, 1)
    return {
        "value": percent(figures[name]),
        "interval": interval(figures, name, shares=True),
        "note": note,
        "marks": marks,
    }


def speed(evaluation: Manifest) -> str | None:
    counts = evaluation.counts
    if "first_token_seconds" not in counts:
        return None
    memory = MEMORY[evaluation.details["device"]].format(size(counts["generation_memory_bytes"]))
    return (
        f"On this device it writes {count(counts['generated_tokens_per_second'])} tokens a second, or "
        f"{count(counts['batched_tokens_per_second'])} with 32 texts at once. The first token of an answer to half a "
        f"window of text comes after {_wait(counts['first_token_seconds'])}. Its weights take "
        f"{size(counts['weights_bytes'])}; {memory}."
    )


def interval(row: Mapping[str, float], figure: str, shares: bool = False) -> str | None:
    """Such as `1.80 to 1.95`; None where there were too few documents for one."""
    low, high = row.get(f"{figure}_low"), row.get(f"{figure}_high")
    if low is None or high is None:
        return None
    return f"{percent(low)} to {percent(high)}" if shares else f"{low:.3f} to {high:.3f}"


def _wait(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else duration(seconds)


def _marks(row: Mapping[str, float], figure: str, highest: float) -> Sequence[tuple[str, float]]:
    """(style, percent of the scale): the value, and the bounds of its interval."""
    bounds = [("zstd", row[f"{figure}_{end}"]) for end in ("low", "high") if f"{figure}_{end}" in row]
    return [(style, 100 * min(max(value, 0), highest) / highest) for style, value in [("model", row[figure]), *bounds]]


def _class(key: str, name: str) -> str:
    start = int(name.split("_")[1])
    if start:
        return f"from {size(start)}"
    return f"below {size(LENGTHS[1])}" if key == "lengths" else f"the first {size(POSITIONS[1])}"
