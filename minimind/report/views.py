"""What each part of the report shows, from the manifests; None where the stages for it are missing."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from minimind.config import Config
from minimind.masking import masked_tree
from minimind.report import evaluation as parts
from minimind.report.figures import (
    Series,
    count,
    duration,
    line_chart,
    percent,
    percent_exactly,
    plain,
    short,
    smoothed,
    words,
)
from minimind.store import Manifest
from minimind.training.diagnosis import diagnose

Stages = Mapping[str, Manifest]
View = dict[str, Any]

REFERENCES = {
    "zstd": ("zstd -19", "with a dictionary of the training text"),
    "xz": ("xz -9", "each document alone"),
}

CHAMPIONS = {  # outcome -> what the champion is called that the model was held against, and when that was
    "promoted": ("Champion until now", "now"),
    "already_champion": ("Champion before", "then"),
}


# --- what came out ----------------------------------------------------------------------------------------------------


def verdict(config: Config, stages: Stages) -> View:
    """The headline, a sentence or two below it, and the tone they are shown in."""
    heading, tone = _heading(config, stages)
    registry = stages.get("registry")
    details = registry.details if registry else {}
    return {
        "heading": heading,
        "tone": tone,
        "sentences": [sentence for sentence in (_what(config, stages), _how_good(stages)) if sentence],
        "aliases": details.get("aliases", []),
        "uri": details.get("uri"),
        "reasons": details.get("decision", {}).get("reasons", []),
        "created_at": max((manifest.created_at for manifest in stages.values()), default=""),
    }


def _heading(config: Config, stages: Stages) -> tuple[str, str]:
    if "registry" in stages:
        details = stages["registry"].details
        version = f"Version {details['version']}"
        return {
            "first": (f"{version} is the first champion", "good"),
            "promoted": (f"{version} is the new champion", "good"),
            "already_champion": (f"{version} is the champion already", "good"),
            "kept_champion": (f"{version} did not replace the champion", "held"),
            "not_promoted": (f"{version} may not become champion", "held"),
        }.get(details["decision"]["outcome"], (f"{version} is registered", "held"))
    if "evaluation" in stages:
        return "A model, measured and not registered", "held"
    if "training" in stages:
        return "A model, not measured yet", "held"
    return "No model yet", "held"


def _what(config: Config, stages: Stages) -> str:
    about = f"{config.description.rstrip('.')}."
    if "training" not in stages:
        return about
    trained = stages["training"].counts
    return (
        f"{about} A model of {short(trained['parameters'])} parameters, trained on {short(trained['tokens'])} tokens "
        f"({trained['epochs']:.2g} epochs)."
    )


def _how_good(stages: Stages) -> str | None:
    if "evaluation" not in stages:
        return None
    scored = stages["evaluation"].counts
    value = scored["bits_per_byte"]
    return (
        f"It needs {value:.3f} bits for a byte of text that it never saw"
        f"{f' (95% interval {bounds})' if (bounds := parts.interval(scored, 'bits_per_byte')) else ''}: "
        f"{_compared(value, scored['zstd_bits_per_byte'])} zstd -19 with a dictionary of the training text, "
        f"{_compared(value, scored['xz_bits_per_byte'])} xz -9."
    )


def _compared(value: float, other: float) -> str:
    if f"{value:.3f}" == f"{other:.3f}":
        return "just as many as"
    return f"{percent(abs(1 - value / other))} {'fewer' if value < other else 'more'} than"


def scores(stages: Stages) -> View | None:
    """The bars: bits per byte of this model, of the champion if it was measured beside it, and of the compressors."""
    if "evaluation" not in stages:
        return None
    scored = stages["evaluation"].counts
    version = f", version {stages['registry'].details['version']}" if "registry" in stages else ""
    decided = _decided(stages)
    beside = decided.get("champion_bits_per_byte") is not None
    value = decided["bits_per_byte"] if beside else scored["bits_per_byte"]
    rows: list[View] = [_bar(f"This model{version}", _compared_documents(decided) if beside else "", value, "model")]
    if beside:
        champion, when = CHAMPIONS.get(decided["outcome"], ("Champion", "now"))
        label, note = f"{champion}, version {decided['previous_champion']}", f"measured {when}, on the same documents"
        rows.append(_bar(label, note, decided["champion_bits_per_byte"], "champion"))
    rows += [
        _bar(label, note, scored[f"{name}_bits_per_byte"], "reference") for name, (label, note) in REFERENCES.items()
    ]
    highest = max(row["value"] for row in rows)
    return {
        "rows": [row | {"percent": 100 * row["value"] / highest} for row in rows],
        "alt": "Bits per byte on the holdout. "
        + "; ".join(" ".join(f"{row['label']} {row['note']}".split()) + f": {row['value']:.3f}" for row in rows),
    }


def _compared_documents(decided: Mapping[str, Any]) -> str:
    """Said where some are left out; a decision of before these were counted says nothing."""
    compared, documents = decided.get("compared_documents"), decided.get("documents")
    if compared is None or documents is None or compared == documents:
        return ""
    return f"on the {count(compared)} of {count(documents)} documents that the champion never saw"


def _bar(label: str, note: str, value: float, style: str) -> View:
    return {"label": label, "note": note, "value": value, "style": style}


def _decided(stages: Stages) -> View:
    registry = stages.get("registry")
    return dict(registry.details["decision"]) if registry else {}


def decision(stages: Stages) -> View | None:
    """The table of the gate's rules; None where there was nobody to measure against and no limit to keep."""
    decided = _decided(stages)
    rules = decided.get("rules", [])
    if len(rules) < 2:
        return None
    return {"rows": [_rule(rule) for rule in rules], "seed_spread": decided["seed_spread"]}


def _rule(rule: Mapping[str, Any]) -> View:
    shown = {
        key: "–" if rule[key] is None else percent_exactly(rule[key]) if rule["unit"] == "share" else plain(rule[key])
        for key in ("value", "limit")
    }
    asked = "over" if rule["sign"] == "above" else rule["sign"]
    return {**rule, "value": shown["value"], "limit": f"{asked} {shown['limit']}"}


def numbers(stages: Stages) -> list[tuple[str, str, str]]:
    """(value, its name, a remark) for the strip below the headline."""
    found = []
    if "cleaning" in stages:
        counts = stages["cleaning"].counts
        found.append((count(counts["documents"]), "documents kept", f"of {count(counts['documents_in'])} read"))
    if "training" in stages:
        counts = stages["training"].counts
        found += [
            (short(counts["parameters"]), "parameters", "one decoder of the Qwen3 family"),
            (short(counts["tokens"]), "tokens trained on", f"{counts['epochs']:.2g} epochs"),
            (duration(counts["training_seconds"]), "of training", f"{count(counts['tokens_per_second'])} tokens/s"),
        ]
    if "evaluation" in stages:
        counts = stages["evaluation"].counts
        found.append((f"{counts['loss']:.3f}", "holdout loss", "nats per token"))
        if "generated_tokens_per_second" in counts:
            found.append((count(counts["generated_tokens_per_second"]), "tokens/s written", "one text at a time"))
    return found


# --- the model --------------------------------------------------------------------------------------------------------


def tokenizer(stages: Stages) -> View | None:
    if "tokenizer" not in stages:
        return None
    manifest = stages["tokenizer"]
    return {
        "counts": manifest.counts,
        "longest": manifest.details.get("longest_words", []),
        "shards": stages["shards"].counts if "shards" in stages else None,
    }


def training(stages: Stages) -> View | None:
    """Curves over tokens: loss on training batches and on the holdout; learning rate, gradient norm and speed."""
    if "training" not in stages:
        return None
    manifest = stages["training"]
    lines = [json.loads(line) for line in manifest.file("metrics.jsonl").read_text().splitlines()]
    return {
        "plan": _plan(manifest.config) + _start(manifest.details.get("started_from", {})),
        "forecast": _forecast(stages, lines),
        "loss": _loss_chart(lines) if lines else None,
        "small": _small_charts(lines),
        "dynamics": _dynamics(lines, manifest.counts["epochs"]),
    }


def _forecast(stages: Stages, lines: Sequence[View]) -> list[tuple[str, str, str, str]] | None:
    """(what, planned, happened, remark); None for a training from before plans said what they expect."""
    manifest = stages["training"]
    expected = manifest.details.get("expected")
    if expected is None:
        return None
    seconds, scored = manifest.counts["training_seconds"], _bits_per_byte(stages, lines)
    rows = [_compared_row("Minutes", expected["seconds"], seconds, 60, 1, "not measured")]
    cost = expected["cost"]
    if cost is not None:
        rows.append(_compared_row("Cost", cost, cost * seconds / expected["seconds"], 1, 2, ""))
    score = expected["bits_per_byte"]
    if scored is not None:
        unknown = "outside what was measured"
        row = _compared_row("Bits per byte", score["value"] if score else None, scored, 1, 3, unknown)
        if score:
            inside = score["low"] <= scored <= score["high"]
            planned = f"{row[1]} ({score['low']:.3f} to {score['high']:.3f})"
            row = (row[0], planned, row[2], row[3] + ("" if inside else ", outside the range"))
        rows.append(row)
    return rows


def _compared_row(
    name: str, planned: float | None, happened: float, unit: float, digits: int, unknown: str
) -> tuple[str, str, str, str]:
    shown = f"{happened / unit:,.{digits}f}"
    if planned is None:
        return name, unknown, shown, ""
    return name, f"{planned / unit:,.{digits}f}", shown, f"{happened / planned - 1:+.1%}"


def _bits_per_byte(stages: Stages, lines: Sequence[View]) -> float | None:
    """Of the evaluation, else of the last look at the holdout in training."""
    if "evaluation" in stages:
        return float(stages["evaluation"].counts["bits_per_byte"])
    scored = [line["holdout_bits_per_byte"] for line in lines if line.get("holdout_bits_per_byte") is not None]
    return float(scored[-1]) if scored else None


def _loss_chart(lines: Sequence[View]) -> View:
    lines = [line for line in lines if line["loss"] is not None]
    tokens, losses = [line["tokens"] for line in lines], [line["loss"] for line in lines]
    width = max(1, len(lines) // 40)
    series = [Series("each step", "faint", tokens, losses)] if width > 1 else []
    name = f"training, mean of {width} steps" if width > 1 else "training"
    series.append(Series(name, "train", tokens, smoothed(losses, width)))
    scored = [line for line in lines if line.get("holdout_loss") is not None]
    if scored:
        held = [line["holdout_loss"] for line in scored]
        series.append(Series("holdout", "holdout", [line["tokens"] for line in scored], held, dots=True))
    ends = ", ".join(f"{one.name} from {one.ys[0]:.2f} to {one.ys[-1]:.2f}" for one in series if one.style != "faint")
    return {
        "chart": line_chart(series, digits=3),
        "alt": f"Loss in nats per token over {short(tokens[-1])} tokens: {ends}.",
    }


def _small_charts(lines: Sequence[View]) -> list[View]:
    charts = []
    for key, title in (
        ("learning_rate", "Learning rate"),
        ("gradient_norm", "Gradient norm, before clipping"),
        ("tokens_per_second", "Tokens per second"),
        ("mfu", "Share of the device's peak (MFU)"),
        ("data_stall", "Share of the time waiting for data"),
    ):
        known = [line for line in lines if line.get(key) is not None]
        if known:
            xs, ys = [line["tokens"] for line in known], [line[key] for line in known]
            charts.append(
                {
                    "title": title,
                    "chart": line_chart([Series(title, "train", xs, ys)], from_zero=True),
                    "alt": f"{title} over tokens: between {min(ys):.3g} and {max(ys):.3g}, at the end {ys[-1]:.3g}.",
                }
            )
    return charts


BY_LAYER = (
    ("update_ratio", "Change of the weights in a step, over the weights"),
    ("contribution", "What a layer adds, over what it is given"),
    ("activation_max", "Greatest activation behind a layer"),
    ("attention_logit_max", "Greatest attention logit"),
)


def _dynamics(lines: Sequence[View], epochs: float) -> View | None:
    """A diagnosis, and a chart by layer of each value that was observed; None for metrics of before there were any."""
    charts = [chart for key, title in BY_LAYER if (chart := _layers_chart(lines, key, title))]
    if not charts:
        return None
    memory = [line["peak_memory_bytes"] for line in lines if "peak_memory_bytes" in line]
    return {
        "findings": diagnose(lines, epochs),
        "charts": charts,
        "memory": max(memory) if memory else None,
        "skipped": lines[-1].get("skipped_steps", 0),
    }


def _layers_chart(lines: Sequence[View], key: str, title: str) -> View | None:
    """A curve a layer: the first and the last in colours, those between faint; the embedding's, if any, grey."""
    names = sorted({name for line in lines for name in line if name.startswith(f"{key}/")})
    layers = [name for name in names if "/layer_" in name]
    styles = dict.fromkeys(names, "faint") | {layers[0]: "holdout", layers[-1]: "train"} if layers else {}
    series = []
    for name in sorted(names, key=lambda name: styles.get(name) != "faint"):  # the coloured ones on top
        known = [line for line in lines if line.get(name) is not None]
        style = "embedding" if name not in layers else styles[name]
        if known:
            series.append(
                Series(
                    name.partition("/")[2], style, [line["tokens"] for line in known], [line[name] for line in known]
                )
            )
    if not layers or not series:
        return None
    ends = ", ".join(f"{words(one.name)} {plain(one.ys[-1])}" for one in series)
    return {
        "title": title,
        "chart": line_chart(series, from_zero=True),
        "alt": f"{title}, over tokens, at the end: {ends}.",
        "embedding": any(one.style == "embedding" for one in series),
    }


def _plan(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The plan's values in plain words, as far as the manifest has them."""
    model = plan.get("model", {})
    shape = [
        ("layers", model.get("layers")),
        ("wide", model.get("hidden_size")),
        ("heads", model.get("heads")),
        ("key/value heads", model.get("kv_heads")),
    ]
    batch = [plan.get(key) for key in ("sequence_length", "micro_batch_sequences", "accumulation")]
    rows = [
        ("Shape", ", ".join(f"{value} {name}" for name, value in shape if value is not None)),
        ("Steps", count(plan["steps"]) if "steps" in plan else ""),
        ("One step", " × ".join(str(value) for value in batch) + " tokens" if None not in batch else ""),
        ("Precision", str(plan.get("precision", ""))),
        ("Device", " ".join(str(plan[key]) for key in ("device", "hardware") if key in plan)),
        ("Threads", str(plan.get("threads") or "")),
        ("Seed", str(plan.get("seed", ""))),
    ]
    return [(name, value) for name, value in rows if value]


def _start(described: Mapping[str, str]) -> list[tuple[str, str]]:
    """Which model training started from; nothing for one from scratch."""
    said = ", ".join(f"{key} {value}" for key, value in described.items() if key != "name")
    return [("Started from", said)] if said else []


def evaluation(stages: Stages) -> View | None:
    """The table by source, the whole last, each with its place on one scale."""
    if "evaluation" not in stages:
        return None
    manifest = stages["evaluation"]
    names = ("bits_per_byte", *(f"{name}_bits_per_byte" for name in REFERENCES))
    rows = [{"name": name, **row} for name, row in sorted(manifest.details["sources"].items())]
    if len(rows) != 1:
        bounds = [name for name in ("bits_per_byte_low", "bits_per_byte_high") if name in manifest.counts]
        shown = ("documents", "bytes", "loss", *names, *bounds)
        rows.append({"name": "all", **{key: manifest.counts[key] for key in shown}})
    highest = max(row[name] for row in rows for name in names if name in row)
    for row in rows:
        row["interval"] = parts.interval(row, "bits_per_byte")
        row["marks"] = [
            (style, 100 * row[name] / highest)
            for style, name in zip(("model", *REFERENCES), names, strict=True)
            if name in row
        ]
    return {
        "rows": rows,
        "counts": manifest.counts,
        "holdout": manifest.details.get("holdout"),
        "references": manifest.details.get("references", {}),
        "scale": f"{highest:.2f}",
        "classes": parts.classes(manifest),
        "leaks": parts.leaks(manifest),
        "knowledge": parts.knowledge(manifest),
        "safety": parts.safety(manifest),
        "speed": parts.speed(manifest),
    }


def samples(stages: Stages) -> list[View] | None:
    return list(stages["evaluation"].details.get("samples", [])) if "evaluation" in stages else None


# --- how it was made --------------------------------------------------------------------------------------------------


def builds(stages: Stages) -> list[View]:
    return [
        {
            "stage": stage,
            "fingerprint": manifest.fingerprint,
            "reused": manifest.reused,
            "seconds": manifest.seconds,
            "bytes": sum(entry.bytes for entry in manifest.files.values()),
            "files": len(manifest.files),
            "created_at": manifest.created_at[:16].replace("T", " "),
        }
        for stage, manifest in stages.items()
    ]


def provenance(config: Config, stages: Stages) -> View:
    """The resolved config, and what each build was made with; more than one value where stages differ."""
    manifests = list(stages.values())
    libraries = {name: version for manifest in manifests for name, version in manifest.libraries.items()}
    resolved = masked_tree(config.model_dump(mode="json"))
    commits: dict[str, list[str]] = {}
    for manifest in manifests:
        commits.setdefault(manifest.git_commit or "unknown", []).append(manifest.stage)
    return {
        "config": yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True, width=100),
        "libraries": sorted(libraries.items()),
        "commits": list(commits.items()),
        "machines": list(dict.fromkeys(_machine(manifest.machine) for manifest in manifests)),
    }


def _machine(machine: Mapping[str, Any]) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, {machine['platform']}, Python {machine['python']}"
