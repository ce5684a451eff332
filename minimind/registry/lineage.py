"""Where a registered model comes from: tags, parameters, data sets and files that its run and version carry.

`recorded.py` reads them back.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from minimind.cleaning.split import corpus_digest
from minimind.config import Config
from minimind.digests import sha256_of_json
from minimind.masking import masked, masked_tree
from minimind.registry.document_fates import FATES, write_fates
from minimind.registry.tracking import DOMAIN_TAG, FINGERPRINT_TAG, MODEL_TAG
from minimind.store import STAGES, Manifest

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

MADE_FROM = STAGES[:-1]
CORPUS_TAG = "minimind.corpus_sha256"
LEDGER_TAG = "minimind.ledger_sha256"
PARENT_TAG = "minimind.parent_version"  # of the version that training started from, where that was a registered one
START_TAG = "minimind.start_sha256"  # of the files that training started from
MEASURED_ON_TAG = "minimind.measured_on"  # what `measured_on` says, as JSON
MAX_PARAMETER_CHARS = 6000  # MLflow's limit
MAX_DIGEST_CHARS = 36  # MLflow's limit
DIRTY = "-dirty"  # behind a commit, as git says it
TRAINING_COSTS = ("tokens", "steps", "epochs", "parameters", "holdout_loss", "tokens_per_second", "training_seconds")
CORPUS_SIZES = ("train_documents", "train_bytes", "holdout_documents", "holdout_bytes")

Stages = Mapping[str, Manifest]


def model_digest(training: Manifest) -> str:
    """One hash for weights, sizes and tokenizer: two models with the same one answer alike."""
    return sha256_of_json(training.matching("model/"))


def lineage_tags(stages: Stages, domain: str) -> dict[str, str]:
    """Fingerprints of all stages, commit, plan, data: enough to find everything again in the store."""
    training, cleaning = stages["training"], stages["cleaning"]
    commit = training.git_commit or "unknown"
    tags = {fingerprint_tag(stage): manifest.fingerprint for stage, manifest in stages.items()}
    tags |= {
        FINGERPRINT_TAG: training.fingerprint,
        MODEL_TAG: model_digest(training),
        CORPUS_TAG: corpus_digest(stages["corpus"].matching("documents-", ".parquet")),
        DOMAIN_TAG: domain,
        "minimind.git_commit": commit.removesuffix(DIRTY),
        "minimind.git_dirty": str(commit.endswith(DIRTY)).lower() if training.git_commit else "unknown",
        "minimind.lock_sha256": training.lock_sha256 or "unknown",
        "minimind.device": f"{training.config.get('device', 'unknown')} {training.config.get('hardware', '')}".strip(),
        "minimind.seconds": f"{sum(manifest.seconds for manifest in stages.values()):.3f}",
    }
    if (money := cost(training)) is not None:
        tags |= {"minimind.cost": f"{money:.6g}", "minimind.price_per_hour": f"{price_per_hour(training):g}"}
    named = {"plan": (training, "plan.json"), "train": (cleaning, "train.parquet")}
    named |= {"holdout": (cleaning, "holdout.parquet"), "ledger": (cleaning, "ledger.parquet")}
    for key, (manifest, file) in named.items():
        if file in manifest.files:
            tags[f"minimind.{key}_sha256"] = manifest.files[file].sha256
    if digests := measured_on(stages["evaluation"]):
        tags[MEASURED_ON_TAG] = json.dumps(digests)
    if start := training.details.get("started_from"):
        tags |= {PARENT_TAG: start["version"]} if "version" in start else {}
        tags[START_TAG] = sha256_of_json({name: value for name, value in training.inputs.items() if "start/" in name})
    return tags


def fingerprints(tags: Mapping[str, str]) -> dict[str, str]:
    """Stage -> fingerprint of the builds that a version was made from, as far as its tags say it."""
    return {stage: tags[tag] for stage in MADE_FROM if (tag := fingerprint_tag(stage)) in tags}


def fingerprint_tag(stage: str) -> str:
    return f"minimind.{stage}_fingerprint"


def measured_on(evaluation: Manifest) -> dict[str, str]:
    """Beginning of figures' names -> digest of the files, and tasks of lm-eval, that they were measured on."""
    tasks, harness = (
        {name.removeprefix(kind): digest for name, digest in evaluation.inputs.items() if name.startswith(kind)}
        for kind in ("task ", "harness ")
    )
    digests = {f"tasks/{name}/": digest for name, digest in tasks.items()}
    if asked := evaluation.config.get("harness_tasks"):
        libraries = evaluation.libraries.get("lm-eval")
        digests["harness/"] = sha256_of_json([sorted(asked), sorted(harness.values()), libraries])
    return digests


def cost(training: Manifest) -> float | None:
    """What the training cost at the config's price: hours that it took, over all its starts, times the price."""
    price, seconds = price_per_hour(training), training.counts.get("training_seconds")
    return None if price is None or seconds is None else price * seconds / 3600


def price_per_hour(training: Manifest) -> float | None:
    """`training.price_per_hour` of the section that the training was made with; None where it has none."""
    price: float | None = training.details.get("section", {}).get("price_per_hour")
    return price


def write_lineage(stages: Stages, config: Config, folder: Path) -> None:
    """What lies under `lineage/` in MLflow: each stage's manifest, the files read with their checksums and licences,
    the plan, the split ledger, and what became of each document."""
    files = {f"{stage}.json": manifest.path / "manifest.json" for stage, manifest in stages.items()}
    for stage, file in (("corpus", "files.jsonl"), ("training", "plan.json"), ("cleaning", "ledger.parquet")):
        if file in stages[stage].files:
            files[file] = stages[stage].file(file)
    for name, path in files.items():
        shutil.copyfile(path, folder / name)
    write_fates(stages["cleaning"], stages["shards"], config.shards.source_weights, folder / FATES)


def resolved_yaml(config: Config) -> str:
    return yaml.safe_dump(masked_tree(config.model_dump(mode="json")), sort_keys=False, allow_unicode=True)


def parameters(config: Config) -> dict[str, str]:
    """The whole config, flat: `training.optimizer.beta1` -> `0.9`; lists as JSON."""
    flat = _flatten(config.model_dump(mode="json"))
    return {key: _shortened(masked(value)) for key, value in flat.items()}


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return flat


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_PARAMETER_CHARS else text[: MAX_PARAMETER_CHARS - 1] + "…"


def final_metrics(stages: Stages) -> dict[str, float]:
    """The figures of a retraining by the names of the manifests: scores of the evaluation, costs of the training,
    sizes of the corpus.

    `loss` and `bits_per_byte` are the evaluation's, on the holdout; `tokens` are those trained on. What a training
    measured over its steps bears `training/` before its name.
    """
    evaluation, training = stages["evaluation"].counts, stages["training"].counts
    costs = {name: training[name] for name in TRAINING_COSTS if name in training}
    sizes = {name: value for name, value in stages["cleaning"].counts.items() if name in CORPUS_SIZES}
    costs["seconds"] = sum(manifest.seconds for manifest in stages.values())
    if (money := cost(stages["training"])) is not None:
        costs["cost"] = money
    return {name: float(value) for name, value in {**evaluation, **costs, **sizes}.items()}


def dataset_inputs(stages: Stages, domain: str) -> list["DatasetInput"]:
    """Train and holdout documents: their place, their sha256 (MLflow keeps 36 of its digits), their size."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    cleaning = stages["cleaning"]
    inputs = []
    for split, context in (("train", "training"), ("holdout", "evaluation")):
        entry = cleaning.files[f"{split}.parquet"]
        profile = {
            name: cleaning.counts[f"{split}_{name}"]
            for name in ("documents", "bytes")
            if f"{split}_{name}" in cleaning.counts
        }
        dataset = Dataset(
            name=f"{domain}-{split}",
            digest=entry.sha256[:MAX_DIGEST_CHARS],
            source_type="local",
            source=json.dumps({"uri": cleaning.file(f"{split}.parquet").as_uri()}),
            profile=json.dumps(profile | {"sha256": entry.sha256}),
        )
        inputs.append(DatasetInput(dataset, tags=[InputTag("mlflow.data.context", context)]))
    return inputs
