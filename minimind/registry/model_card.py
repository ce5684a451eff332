"""The model card: what the model is, what it was made from, how good it is, what it cannot do, and how to run it.

From the manifests alone. A figure that an evaluation has not measured is left out.
"""

from collections.abc import Iterator, Mapping, Sequence

from minimind.config import Config
from minimind.registry.lineage import DIRTY, Stages, cost, model_digest, price_per_hour
from minimind.store import number_in_words

CARD = "README.md"
LICENCES = 8  # of a source
FEW_DOCUMENTS = 100  # in a holdout
ENOUGH_TOKENS = 20  # for each parameter: Hoffmann et al. 2022, table 3
MANY_EPOCHS = 4  # up to which repeated text is nearly as good as new: Muennighoff et al. 2023
SECTIONS = {  # of figures: beginning of their names in the evaluation's counts -> heading
    "sources/": "By source",
    "lengths/": "By length of the document",
    "positions/": "By position in the document",
    "generated_questions/": "Questions made of the holdout",
    "tasks/": "Labelled tasks",
    "harness/": "lm-eval",
    "memorisation/": "Training text that comes back word for word",
    "personal_data/": "Personal data in what it writes",
    "degeneration/": "Repetition in what it writes",
}
RUN = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # where this file lies
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
prompt = tokenizer.bos_token + "The"  # every document begins with this token
inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
written = model.generate(**inputs, max_new_tokens=40, do_sample=True, temperature=0.8, top_p=0.95)
print(tokenizer.decode(written[0], skip_special_tokens=True))
```"""


def model_card(config: Config, stages: Stages) -> str:
    """Markdown."""
    sections = [
        f"# {config.name}\n\n{config.description}",
        _what_it_is(stages),
        _figures(stages),
        _sources(stages),
        _funnel(stages),
        "## Known limits\n\n" + "\n".join(f"- {limit}" for limit in limits(stages)),
        "## How to run it\n\nIt is a stock `Qwen3ForCausalLM`; no code of its maker is needed.\n\n" + RUN,
        _lineage(stages),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what_it_is(stages: Stages) -> str:
    training = stages["training"]
    model = training.config.get("model", {})
    sizes = f" of {training.counts['parameters'] / 1e6:,.2f}M parameters" if "parameters" in training.counts else ""
    sentences = [f"A decoder{sizes}, trained on the documents below."]
    if model:
        sentences.append(
            f"{model['layers']} layers, {model['hidden_size']} wide, a vocabulary of {model['vocabulary_size']:,} "
            f"byte-level BPE tokens, a window of {model['max_positions']:,} tokens."
        )
    return " ".join(sentences)


# --- figures ----------------------------------------------------------------------------------------------------------


def _figures(stages: Stages) -> str:
    cleaning, training, evaluation = (stages[stage].counts for stage in ("cleaning", "training", "evaluation"))
    rows = [
        ("Trained on, tokens", _plain(training, "tokens", ",.0f")),
        ("Trained on, epochs", _plain(training, "epochs", ".3g")),
        ("Trained on, documents", _plain(cleaning, "train_documents", ",.0f")),
        ("Training, seconds", _plain(training, "training_seconds", ",.1f")),
        ("Training, cost", None if (money := cost(stages["training"])) is None else f"{money:,.2f}"),
        ("Holdout, documents measured", _plain(evaluation, "documents", ",.0f")),
        ("Holdout, left out as they stand in the training text", _plain(evaluation, "leaked_documents", ",.0f")),
        ("Holdout, bits per byte", with_interval(evaluation, "bits_per_byte", ".4f")),
        ("The same holdout by xz -9, bits per byte", _plain(evaluation, "xz_bits_per_byte", ".4f")),
        ("The same holdout by zstd -19 with a dictionary, bits per byte",
         _plain(evaluation, "zstd_bits_per_byte", ".4f")),
        ("Holdout, nats per token", with_interval(evaluation, "loss", ".4f")),
    ]  # fmt: skip
    table = _table(("", ""), [(name, value) for name, value in rows if value is not None])
    measured = any(name.endswith("_low") for name in evaluation)
    intervals = (
        "Intervals are of 95%: of bits per byte over documents, of shares over what was asked or written.\n\n"
        if measured
        else ""
    )
    parts = [f"## How good it is\n\n{intervals}{table}"]
    for beginning, heading in SECTIONS.items():
        found = [
            (name.removeprefix(beginning).replace("_", " "), with_interval(evaluation, name, ".4g") or "")
            for name in evaluation
            if name.startswith(beginning) and not name.endswith(("_low", "_high"))
        ]
        if found:
            parts.append(f"### {heading}\n\n" + _table(("", ""), found))
    return "\n\n".join(parts)


def with_interval(counts: Mapping[str, float], name: str, spec: str) -> str | None:
    """Such as `1.8762 (1.8500 to 1.9024)`; the value alone where its bounds were not measured."""
    if name not in counts:
        return None
    value = format(counts[name], spec)
    if f"{name}_low" not in counts or f"{name}_high" not in counts:
        return value
    return f"{value} ({format(counts[f'{name}_low'], spec)} to {format(counts[f'{name}_high'], spec)})"


def _plain(counts: Mapping[str, float], name: str, spec: str) -> str | None:
    return format(counts[name], spec) if name in counts else None


# --- what it was made from --------------------------------------------------------------------------------------------


def _sources(stages: Stages) -> str:
    sources = stages["corpus"].details.get("sources", {})
    rows = [
        (name, f"{source['documents']:,}", _licences(source.get("licenses", {})))
        for name, source in sorted(sources.items())
    ]
    return "## What it was trained on\n\n" + _table(("Source", "Documents", "Licences"), rows) if rows else ""


def _licences(counted: Mapping[str, int]) -> str:
    """The commonest; more than LICENCES are counted."""
    names = sorted(counted, key=lambda name: (-counted[name], name))
    more = f" and {len(names) - LICENCES:,} more" if len(names) > LICENCES else ""
    return ", ".join(" ".join(name.split()) for name in names[:LICENCES]) + more or "unknown"


def _funnel(stages: Stages) -> str:
    counts, details = stages["cleaning"].counts, stages["cleaning"].details
    if "funnel" not in details:
        return ""
    excluded = stages["corpus"].counts.get("excluded", 0)
    rows = [("kept out by corpus.exclude_ids", f"{excluded:,.0f}")] if excluded else []
    rows.append(("read", f"{counts['documents_in']:,.0f}"))
    for row in details["funnel"]:
        if row["documents"]:
            name = f"removed, {row['step']}: {row['reason']}".replace("_", " ")
            rows.append((name, f"{row['documents']:,}"))
    rows.append(("kept for training", f"{counts['train_documents']:,.0f}"))
    rows.append(("kept as holdout", f"{counts['holdout_documents']:,.0f}"))
    return "### From raw to clean\n\n" + _table(("", "Documents"), rows)


def _lineage(stages: Stages) -> str:
    training = stages["training"]
    commit = training.git_commit or "unknown"
    dirty = ", with uncommitted changes" if commit.endswith(DIRTY) else ""
    rows = [(stage, f"`{manifest.fingerprint}`") for stage, manifest in stages.items()]
    if start := training.details.get("started_from"):
        rows.append(("started from", " ".join(f"{key} {value}" for key, value in start.items())))
    rows.append(("weights and tokenizer, sha256", f"`{model_digest(training)}`"))
    rows.append(("commit", f"`{commit.removesuffix(DIRTY)}`{dirty}"))
    rows.append(("lock file, sha256", f"`{training.lock_sha256 or 'unknown'}`"))
    device = f"{training.config.get('device', 'unknown')} {training.config.get('hardware', '')}".strip()
    rows.append(("device", f"{device}, {training.machine.get('processor', 'unknown')}"))
    if (price := price_per_hour(training)) is not None:
        rows.append(("price an hour", f"{price:g}"))
    return "## Made from\n\n" + _table(("Stage", "Fingerprint"), rows)


# --- limits -----------------------------------------------------------------------------------------------------------


def limits(stages: Stages) -> Iterator[str]:
    """Sentences, each from what was measured or set."""
    training, evaluation = stages["training"].counts, stages["evaluation"].counts
    yield (
        "It continues text as its training documents would go on. It was not taught to follow instructions or to "
        "answer questions, and what it states may be false."
    )
    yield (
        "It knows the sources above. Other subjects, languages and kinds of text were neither trained on nor measured; "
        "what is one-sided in the sources is so in the model."
    )
    if positions := stages["training"].config.get("model", {}).get("max_positions"):
        per_token = stages["tokenizer"].counts.get("holdout_bytes_per_token")
        size = f", about {number_in_words(round(positions * per_token))} bytes of text" if per_token else ""
        yield f"It sees at most {positions:,} tokens at once{size}; what stands before that, it does not know."
    if (documents := evaluation.get("documents", FEW_DOCUMENTS)) < FEW_DOCUMENTS:
        yield f"Its figures come from {documents:,.0f} documents that it did not see: too few for small differences."
    if training.get("parameters") and (each := training.get("tokens", 0) / training["parameters"]) < ENOUGH_TOKENS:
        yield (
            f"It saw {each:,.2g} tokens for each parameter, where about {ENOUGH_TOKENS} make the most of a training: "
            "more training, more text or a smaller model would be better."
        )
    if training.get("epochs", 0) > MANY_EPOCHS:
        yield f"It saw its documents {training['epochs']:,.3g} times over, and may repeat passages word for word."
    yield from _on_memorisation(evaluation)
    yield _on_personal_data(stages)
    if unknown := sum(
        source.get("licenses", {}).get("not stated", 0)
        for source in stages["corpus"].details.get("sources", {}).values()
    ):
        yield f"{unknown:,} of the documents read state no licence; whether they may be used is for their user to know."


def _on_memorisation(evaluation: Mapping[str, float]) -> Iterator[str]:
    share = evaluation.get("memorisation/training_share")
    if share is None:
        yield "Whether it repeats training text word for word was not measured."
        return
    holdout = evaluation.get("memorisation/holdout_share")
    beside = f", against {holdout:.1%} of passages that it never saw" if holdout is not None else ""
    yield (
        f"Of {evaluation.get('memorisation/training_passages', 0):,.0f} passages of its training text, it continued "
        f"{share:.1%} word for word{beside}."
    )


def _on_personal_data(stages: Stages) -> str:
    actions = stages["cleaning"].config.get("personal_data", {})
    told = []
    for action, words in (("replace", "replaced"), ("flag", "left in and noted"), ("keep", "not looked for")):
        if kinds := sorted(kind for kind, chosen in actions.items() if kind != "phone_region" and chosen == action):
            told.append(f"{words}: {', '.join(kinds)}")
    found = f" ({'; '.join(told)})" if told else ""
    return (
        f"Personal data of the kinds that patterns find was handled as its config says{found}. Names and whatever else "
        "has no pattern stayed in, and the model may write them."
    )


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
