"""The model card: what the model is, what it was made from and how good it is, from the manifests alone."""

from collections.abc import Sequence

from minimind.config import Config
from minimind.registry.lineage import Stages, model_digest


def model_card(config: Config, stages: Stages) -> str:
    """Markdown."""
    sections = [f"# {config.name}\n\n{config.description}", _figures(stages), _sources(stages), _lineage(stages)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _figures(stages: Stages) -> str:
    cleaning, training, evaluation = (stages[stage].counts for stage in ("cleaning", "training", "evaluation"))
    rows = [
        ("Parameters", training.get("parameters"), ",.0f"),
        ("Trained on, tokens", training.get("tokens"), ",.0f"),
        ("Trained on, documents", cleaning.get("train_documents"), ",.0f"),
        ("Holdout, documents", cleaning.get("holdout_documents"), ",.0f"),
        ("Holdout, bits per byte", evaluation.get("bits_per_byte"), ".4f"),
        ("The same holdout by xz -9, bits per byte", evaluation.get("xz_bits_per_byte"), ".4f"),
        ("The same holdout by zstd -19 with a dictionary, bits per byte", evaluation.get("zstd_bits_per_byte"), ".4f"),
        ("Holdout, nats per token", evaluation.get("loss"), ".4f"),
    ]
    return _table(("", ""), [(name, format(value, spec)) for name, value, spec in rows if value is not None])


def _sources(stages: Stages) -> str:
    sources = stages["corpus"].details.get("sources", {})
    rows = [
        (name, f"{source['documents']:,}", ", ".join(sorted(source.get("licenses", {}))) or "unknown")
        for name, source in sorted(sources.items())
    ]
    return "## Sources\n\n" + _table(("Source", "Documents", "Licences"), rows) if rows else ""


def _lineage(stages: Stages) -> str:
    rows = [(stage, f"`{manifest.fingerprint}`") for stage, manifest in stages.items()]
    if start := stages["training"].details.get("started_from"):
        rows.append(("started from", " ".join(f"{key} {value}" for key, value in start.items())))
    rows.append(("weights and tokenizer, sha256", f"`{model_digest(stages['training'])}`"))
    rows.append(("commit", f"`{stages['training'].git_commit or 'unknown'}`"))
    return "## Made from\n\n" + _table(("Stage", "Fingerprint"), rows)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
