"""Registered versions of one model beside each other: the same documents, the same prompts, what each cost."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from minimind.config import EvaluationConfig
from minimind.digests import sha256_of_file
from minimind.errors import ModelNotFoundError, StoreDamagedError, UserError
from minimind.evaluation.compare import Difference, compare, compare_by_source, in_words, paired
from minimind.evaluation.holdout import Holdout, read_holdout
from minimind.evaluation.intervals import LEVEL
from minimind.evaluation.overlap import has_filter, unchecked_in_words
from minimind.evaluation.samples import Sample, all_prompts, write_samples
from minimind.evaluation.scoring import DocumentScores, choose_device, score_unseen
from minimind.evaluation.seed_spread import Known, known_spread, shaping
from minimind.model.hugging_face import load_model
from minimind.model.transformer import Transformer
from minimind.registry.packaged_model import download, find_version, opened, refuse_unknown
from minimind.registry.promotion import champion_of, previous_champion
from minimind.registry.recorded import config_of
from minimind.registry.tracking import DOMAIN_TAG, artifacts_address, connect, figures_of, refusals_said, run_of
from minimind.store import Store
from minimind.tokenizer.bpe import load_tokenizer

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

SHOWN_DOCUMENTS = 3  # that got better, and that got worse
SHOWN_CHARS = 700  # of a document's text
MAX_PROMPTS = 4
SERIES = "compared/"  # before the names of metrics that a comparison leaves on the runs of its versions
COSTS = (
    "parameters", "tokens", "epochs", "training_seconds", "cost", "tokens_per_second", "train_documents", "train_bytes"
)  # fmt: skip
HISTORY = ("bits_per_byte", "train_bytes", "training_seconds", "cost")


@dataclass(frozen=True)
class Version:
    """A registered version, its exported model, and the figures of its run."""

    registered: "ModelVersion"
    folder: Path
    figures: Mapping[str, float]
    config: Mapping[str, Any]  # the resolved YAML; empty where the run has none any more

    @property
    def number(self) -> str:
        return str(self.registered.version)

    @cached_property
    def label(self) -> str:
        return f"version {self.number}"


def compare_versions(name: str, wanted: Sequence[str], uri: str, store: Store) -> dict[str, Any]:
    """The comparison as one JSON object: `verdict`, `effect`, `interval`, `by_source`, and what the page shows.

    The first of `wanted` is what the others are held against; with none wanted, the newest version is held against the
    champion, or against the champion before, if the newest is champion itself. Documents are those of the newest
    version's holdout. Raises UserError (one of its kinds) for an unknown model or version, a version of another
    domain, a holdout that is empty or gone; ServerError if MLflow does not answer.
    """
    with opened(uri, store.root) as client:
        refuse_unknown(client, name)
        found = [_of_this_domain(client, name, number) for number in _chosen(client, name, wanted)]
        registered = list({version.version: version for version in found}.values())  # 3 and 03 are one
        if len(registered) < 2:
            raise UserError(f"--versions names {', '.join(wanted)}; a comparison needs two different ones, such as 3,4")
        newest = max(registered, key=lambda version: int(version.version))
        versions = [_read_version(client, version, uri, store) for version in registered]
        section = _evaluation_of(next(version for version in versions if version.registered is newest))
        holdout = _holdout_of(newest, section, store)
        history = _history(client, name)
        champion = champion_of(client, name)
    models = [_load(version) for version in versions]
    spread = _spread_of(versions[-1], models[-1], name, store)
    scores = paired(
        *(
            score_unseen(
                model, version.folder, holdout, section, _progress(store, f"scoring {version.label}")
            )
            for model, version in zip(models, versions, strict=True)
        )
    )  # fmt: skip
    base, *others = versions
    comparisons = [
        _describe(base, other, scores[0], theirs, spread) for other, theirs in zip(others, scores[1:], strict=True)
    ]
    samples = _samples(versions, models, section, holdout, store)
    return {
        "name": name,
        **comparisons[-1],
        "comparisons": comparisons,
        "versions": [_describe_version(version, one, champion) for version, one in zip(versions, scores, strict=True)],
        "unchecked": _unchecked_in_words(versions, len(scores[0].document_ids)),
        "seed_spread": spread.said,
        "holdout": {
            "version": str(newest.version),
            "sha256": newest.tags["minimind.holdout_sha256"],
            "documents": len(scores[0].document_ids),
            "bytes": int(scores[0].text_bytes.sum()),
            "read_documents": len(holdout.documents),  # before those in the training text of a version are left out
            "all_documents": holdout.all_documents,
        },
        "changed_documents": _extremes(holdout, scores[0], scores[-1]),
        "samples": samples,
        "history": history,
    }


def _progress(store: Store, text: str) -> Any:
    return lambda done, total: store.report("compare", done, total, text)


# --- which versions ---------------------------------------------------------------------------------------------------


def _chosen(client: "MlflowClient", name: str, wanted: Sequence[str]) -> list[str]:
    """The numbers of the versions, what the others are held against first."""
    if wanted:
        return list(wanted)
    numbers = [int(version.version) for version in client.search_model_versions(f"name = '{name}'")]
    if not numbers:
        raise ModelNotFoundError(f"{name} has no version yet; `minimind run` makes one")
    newest, champion = str(max(numbers)), champion_of(client, name)
    if champion == newest:
        champion = previous_champion(client, name)
    if champion is None:
        raise UserError(
            f"version {newest} of {name} has no champion before it to be compared with"
            + ("; name two with --versions" if len(numbers) > 1 else ", and is the only version: another run makes one")
        )
    return [champion, newest]


def _of_this_domain(client: "MlflowClient", name: str, number: str) -> "ModelVersion":
    other, slash, _ = number.rpartition("/")
    if slash and other.removeprefix("models:/") != name:
        raise UserError(f"{number} is no version of {name}; only versions of one domain can be compared")
    version = find_version(
        client, number if number.startswith("models:/") else f"models:/{name}/{number.split('/')[-1]}"
    )
    domain = version.tags.get(DOMAIN_TAG)
    if domain is None:
        raise UserError(
            f"version {version.version} of {name} was not registered by `minimind run`: it says nothing of its holdout"
        )
    if domain != name:
        raise UserError(
            f"version {version.version} of {name} was trained for the domain {domain}; only versions of one domain "
            "can be compared"
        )
    return version


def _evaluation_of(version: Version) -> EvaluationConfig:
    """How a version was evaluated, by the config of its run."""
    try:
        return EvaluationConfig.model_validate(version.config.get("evaluation"))
    except ValidationError:  # of a run that is gone, or of another version of this project
        raise UserError(
            f"nothing says any more how {version.label} of {version.registered.name} was evaluated: the config of its "
            "run is gone, or of another version of this project; train it anew, or leave it out with --versions"
        ) from None


def _holdout_of(version: "ModelVersion", section: EvaluationConfig, store: Store) -> Holdout:
    """The holdout that a version was evaluated on, as its lineage names it."""
    fingerprint = version.tags.get("minimind.cleaning_fingerprint", "")
    cleaning = store.find("cleaning", fingerprint)
    if cleaning is None:
        raise UserError(
            f"the holdout of version {version.version} of {version.name} (cleaning {fingerprint}) is not in "
            f"{store.root}; name the store of its run with --store, or leave this version out"
        )
    path = cleaning.file("holdout.parquet")
    if sha256_of_file(path) != version.tags.get("minimind.holdout_sha256"):
        raise StoreDamagedError(f"{path} is not the holdout that version {version.version} was evaluated on")
    holdout = read_holdout(path, section.max_bytes)
    if not holdout.documents:
        raise UserError(f"the holdout of version {version.version} of {version.name} has no document: {path}")
    return holdout


def _read_version(client: "MlflowClient", version: "ModelVersion", uri: str, store: Store) -> Version:
    try:
        folder = download(client, version, uri, store.root)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f"version {version.version} of {version.name} cannot be loaded: {error}") from None
    return Version(version, folder, figures_of(client, version), config_of(client, version))


def _load(version: Version) -> Transformer:
    try:
        load_tokenizer(version.folder)
        return load_model(version.folder, choose_device("auto"))
    except Exception as error:  # tokenizers raises no narrower one
        said = " ".join(str(error).split())
        raise ModelNotFoundError(f"{version.label} of {version.registered.name} cannot be loaded: {said}") from error


def _spread_of(version: Version, model: Transformer, name: str, store: Store) -> Known:
    """The noise between seeds for the recipe of the last version; it stands for that of the others too."""
    sections = {key: version.config.get(key) or {} for key in ("training", "tokenizer", "registry")}
    stated = sections["registry"].get("seed_spread", "measured")
    recipe = shaping(sections["training"], sections["tokenizer"], asdict(model.config))
    tokens, train_bytes = version.figures.get("tokens"), version.figures.get("train_bytes")
    return known_spread(stated, store.root, name, recipe, tokens, train_bytes)


# --- what is compared -------------------------------------------------------------------------------------------------


def _describe(
    base: Version, other: Version, before: DocumentScores, now: DocumentScores, spread: Known
) -> dict[str, Any]:
    whole = compare(before, now, spread.spread)
    sources = compare_by_source(before, now, spread.spread)
    return {
        "baseline": base.number,
        "candidate": other.number,
        "sentence": in_words(whole, other.label, base.label),
        **describe_difference(whole),
        "by_source": {source: describe_difference(one) for source, one in sources.items()},
    }


def describe_difference(difference: Difference) -> dict[str, Any]:
    effect, change = difference.effect.as_json(), difference.change.as_json()
    percent = [None if part is None else 100 * part for part in change]
    covers = ["documents", "seeds"] if difference.knows_seeds else ["documents"]
    return {
        "verdict": difference.verdict,
        "effect": {"bits_per_byte": effect[0], "percent": percent[0]},
        "interval": {"bits_per_byte": effect[1:], "percent": percent[1:], "level": LEVEL, "covers": covers},
        "bits_per_byte": {"baseline": difference.baseline, "candidate": difference.candidate},
        "documents": difference.documents,
        "bytes": difference.bytes,
    }


def _describe_version(version: Version, scores: DocumentScores, champion: str | None) -> dict[str, Any]:
    return {
        "version": version.number,
        "champion": version.number == champion,
        "created_at": version.registered.creation_timestamp,  # milliseconds
        "run_id": version.registered.run_id,
        "unchecked_documents": 0 if has_filter(version.folder) else len(scores.document_ids),
        "bits_per_byte": scores.bits_per_byte,
        "by_source": {source: scores.of_source(source).bits_per_byte for source in sorted(set(scores.sources))},
        "costs": {name: version.figures[name] for name in COSTS if name in version.figures},
    }


def _unchecked_in_words(versions: Sequence[Version], documents: int) -> str | None:
    """What is to be said of those that do not know their training text; None where all do."""
    named = [version.label for version in versions if not has_filter(version.folder)]
    return unchecked_in_words(", ".join(named), documents) if named else None


def _extremes(holdout: Holdout, before: DocumentScores, now: DocumentScores) -> dict[str, list[dict[str, Any]]]:
    """The documents whose bits per byte fell most, and those where they rose most, with their beginnings."""
    texts = {document.document_id: document.text for document in holdout.documents}
    sizes = np.maximum(1, before.text_bytes) * math.log(2)
    first, second = before.nats / sizes, now.nats / sizes
    order = np.argsort(second - first, kind="stable")

    def rows(chosen: Any) -> list[dict[str, Any]]:
        return [
            {
                "document_id": before.document_ids[row],
                "source": before.sources[row],
                "bytes": int(before.text_bytes[row]),
                "baseline": float(first[row]),
                "candidate": float(second[row]),
                "text": texts[before.document_ids[row]][:SHOWN_CHARS],
                "cut": len(texts[before.document_ids[row]]) > SHOWN_CHARS,
            }
            for row in chosen
        ]

    better = [row for row in order[:SHOWN_DOCUMENTS] if second[row] < first[row]]
    worse = [row for row in order[::-1][:SHOWN_DOCUMENTS] if second[row] > first[row]]
    return {"better": rows(better), "worse": rows(worse)}


def _samples(
    versions: Sequence[Version],
    models: Sequence[Transformer],
    section: EvaluationConfig,
    holdout: Holdout,
    store: Store,
) -> list[dict[str, Any]]:
    """What each version writes for the prompts of the newest one's config, with the same seeds."""
    prompts = all_prompts(section.sampling, holdout.documents)[:MAX_PROMPTS]
    written: list[list[Sample]] = []
    for version, model in zip(versions, models, strict=True):
        store.report("compare", 0, None, f"{version.label} writes samples")
        written.append(list(write_samples(model, load_tokenizer(version.folder), prompts, section.sampling)))
    return [
        {
            "prompt": prompt.text,
            "document_id": prompt.document_id,
            "texts": [
                {"version": version.number, "text": samples[number].text, "ended": samples[number].ended}
                for version, samples in zip(versions, written, strict=True)
            ],
        }
        for number, prompt in enumerate(prompts)
    ]


def _history(client: "MlflowClient", name: str) -> list[dict[str, Any]]:
    """All versions in their order with quality, corpus size and cost as their own runs have them."""
    rows = []
    for version in sorted(client.search_model_versions(f"name = '{name}'"), key=lambda one: int(one.version)):
        figures = figures_of(client, version)
        rows.append(
            {
                "version": str(version.version),
                "created_at": version.creation_timestamp,
                "gate": version.tags.get("minimind.gate"),
                **{key: figures.get(key) for key in HISTORY},
            }
        )
    return rows


# --- into MLflow ------------------------------------------------------------------------------------------------------


def log_comparison(comparison: Mapping[str, Any], page: Path, uri: str) -> str | None:
    """Puts the figures on the runs of the compared versions, by stable names, and the page on the last one's.

    Figures of an earlier comparison that this one does not have become NaN: MLflow would show them beside these. The
    address of the last run's artifacts in MLflow's pages; None where MLflow is a bare database. Runs that were deleted
    get nothing.
    """
    from mlflow.entities import Metric, RunTag

    with refusals_said(uri):
        client = connect(uri)
        numbers, now = [row["version"] for row in comparison["versions"]], round(time.time() * 1000)
        changes = {one["candidate"]: one for one in comparison["comparisons"]}
        active = {number: run for number in numbers if (run := _active_run(client, comparison["name"], number))}
        for row in comparison["versions"]:
            if row["version"] not in active:
                continue
            figures = {key: math.nan for key in active[row["version"]].data.metrics if key.startswith(SERIES)}
            figures |= _compared_figures(row, changes.get(row["version"]))
            metrics = [Metric(key, value, now, 0) for key, value in figures.items()]
            tags = {
                "minimind.compared_holdout_sha256": comparison["holdout"]["sha256"],
                "minimind.compared_versions": ",".join(numbers),
            }
            client.log_batch(row["run_id"], metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
        run_id = comparison["versions"][-1]["run_id"]
        if numbers[-1] not in active:
            return None
        client.log_text(run_id, page.read_text(), "comparison.html")
        client.log_dict(run_id, dict(comparison), "comparison.json")
        return artifacts_address(client, uri, run_id)


def _active_run(client: "MlflowClient", name: str, number: str) -> "Run | None":
    run = run_of(client, client.get_model_version(name, number))
    return run if run and run.info.lifecycle_stage == "active" else None


def _compared_figures(version: Mapping[str, Any], comparison: Mapping[str, Any] | None) -> dict[str, float]:
    """By MLflow's names; `comparison` is None for the version that the others are held against."""
    found = {"bits_per_byte": version["bits_per_byte"]}
    found |= {f"bits_per_byte/{source}": value for source, value in version["by_source"].items()}
    if comparison is not None:
        found["change_percent"] = comparison["effect"]["percent"]
        found["change_percent_low"], found["change_percent_high"] = comparison["interval"]["percent"]
    return {SERIES + key: value for key, value in found.items() if value is not None}
