"""The door of the stage: the run in MLflow is completed, the model registered, and the champion decided."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimind.config import Config, RegistryConfig
from minimind.digests import sha256_of_json
from minimind.errors import UserError
from minimind.evaluation.seed_spread import Known, known_spread, shaping
from minimind.registry import lineage
from minimind.registry.champion import measure
from minimind.registry.forwarding import MetricForwarder
from minimind.registry.gate import decide
from minimind.registry.half_registered import half_registered, made_from
from minimind.registry.model_card import CARD, model_card
from minimind.registry.promotion import UNANNOUNCED_TAG, aliases_of, champion_of, settle
from minimind.registry.tracking import MODEL_TAG, connect, find_experiment, if_there, refusals_said
from minimind.registry.version import find_or_create_version, text_memory
from minimind.store import Manifest, Outcome, Recipe, Store, recipe

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

Announce = Callable[[Mapping[str, Any]], None]  # is given the build's details

MAX_BATCH_PARAMETERS = 100  # MLflow's limit


@dataclass(frozen=True)
class RegistryInputs:
    config: Config
    stages: Mapping[str, Manifest]  # the six earlier ones
    tracking_uri: str


def build(
    section: RegistryConfig, inputs: RegistryInputs, store: Store, announce: Announce = lambda details: None
) -> Manifest:
    """Registers the model, once however often it is called, and settles who is champion.

    `decision.json`, and `model/` as transformers loads it, with its card; counts: version; details: name, version,
    uri, aliases, run_id, decision. A stored build is used again only if MLflow still says what it says. Each decision
    is announced, twice after a kill just behind it. Versions that a kill has left half registered are completed first.
    Raises ServerError if MLflow does not answer.
    """
    inputs = RegistryInputs(
        inputs.config, {stage: inputs.stages[stage] for stage in lineage.MADE_FROM}, inputs.tracking_uri
    )
    _refuse_diverged(inputs.stages["evaluation"])
    with refusals_said(inputs.tracking_uri):
        client = connect(inputs.tracking_uri)
        _complete_others(client, inputs, store, announce)
        return _build(client, section, inputs, store, announce)


def _complete_others(client: "MlflowClient", inputs: RegistryInputs, store: Store, announce: Announce) -> None:
    """One that cannot be completed is said, and stops nothing."""
    name, digest = inputs.config.name, lineage.model_digest(inputs.stages["training"])
    for version in half_registered(client, name):
        if version.tags[MODEL_TAG] == digest:
            continue  # this run's own
        logger.info("registry: completing version %s of %s, which was left half registered", version.version, name)
        try:
            with refusals_said(inputs.tracking_uri):
                config, stages = made_from(client, version, store)
                theirs = RegistryInputs(config, stages, inputs.tracking_uri)
                _build(client, config.registry, theirs, store, announce)
        except UserError as error:
            logger.warning("registry: version %s of %s stays half registered: %s", version.version, name, error)


def _build(
    client: "MlflowClient", section: RegistryConfig, inputs: RegistryInputs, store: Store, announce: Announce
) -> Manifest:
    spread = _spread(section, inputs, store)
    made = _recipe(section, inputs, _database_of(client, section, inputs, store), spread)
    found = store.find(made.stage, made.fingerprint)
    return store.build(
        made,
        partial(_register, client, section, inputs, store, spread, announce),
        refresh=found is not None and not _still_true(client, found),
    )


def _refuse_diverged(evaluation: Manifest) -> None:
    score = evaluation.counts["bits_per_byte"]
    if not 0 <= score < float("inf"):
        raise UserError(
            f"the model scores {score} bits per byte on the holdout, a finite number was expected: its training "
            "diverged, and it is not registered; lower training.optimizer.learning_rate"
        )


def _database_of(client: "MlflowClient", section: RegistryConfig, inputs: RegistryInputs, store: Store) -> str:
    """What tells one MLflow from another, whatever the address by which it is reached: when its experiment was made."""
    found = client.get_experiment(find_experiment(client, section.experiment, inputs.tracking_uri, store))
    return sha256_of_json([found.experiment_id, found.creation_time])


def _spread(section: RegistryConfig, inputs: RegistryInputs, store: Store) -> Known:
    config, training, cleaning = inputs.config, inputs.stages["training"], inputs.stages["cleaning"]
    sections = config.training.model_dump(mode="json"), config.tokenizer.model_dump(mode="json")
    recipe = shaping(*sections, training.config.get("model"))
    tokens, train_bytes = training.counts.get("tokens"), cleaning.counts.get("train_bytes")
    return known_spread(section.seed_spread, store.root, config.name, recipe, tokens, train_bytes)


def _recipe(section: RegistryConfig, inputs: RegistryInputs, database: str, spread: Known) -> Recipe:
    """What decides: the model, its scores, the holdout, the name, the run, MLflow's database, the spread between seeds;
    not who is champion."""
    training, evaluation, cleaning = (inputs.stages[stage] for stage in ("training", "evaluation", "cleaning"))
    files = {
        **training.matching("model/"),
        **evaluation.matching("evaluation.json"),
        **evaluation.matching("documents.parquet"),
        **cleaning.matching("holdout.parquet"),
        "name": sha256_of_json(inputs.config.name),
        "run": training.fingerprint,
        "MLflow database": database,
        "seed spread": sha256_of_json([spread.said, spread.spread and asdict(spread.spread)]),
    }
    parents = {stage: manifest.fingerprint for stage, manifest in inputs.stages.items()}
    return recipe("registry", section, files, ("mlflow",), parents)


def _still_true(client: "MlflowClient", found: Manifest) -> bool:
    """Whether MLflow has the version, with the model and the aliases, that a stored build describes.

    It has not if its database is another one by now, or if somebody has moved the champion's alias since; nor does a
    decision stand that was taken after it and that nobody has been told of.
    """
    name, version = str(found.details["name"]), str(found.details["version"])
    registered = if_there(lambda: client.get_model_version(name, version))
    run = if_there(lambda: client.get_run(str(found.details["run_id"])))
    if registered is None or run is None:
        return False
    return bool(
        run.info.lifecycle_stage == "active"
        and registered.tags.get(MODEL_TAG) == found.details["model_sha256"]
        and UNANNOUNCED_TAG not in registered.tags
        and aliases_of(client, name, version) == found.details["aliases"]
        and champion_of(client, name) == found.details["decision"]["champion"]
    )


# --- the build --------------------------------------------------------------------------------------------------------


def _register(
    client: "MlflowClient", section: RegistryConfig, inputs: RegistryInputs, store: Store, spread: Known,
    announce: Announce, folder: Path,
) -> Outcome:  # fmt: skip
    name, training = inputs.config.name, inputs.stages["training"]
    store.report("registry", 0, 4, "sending the metrics")
    run_id = MetricForwarder(store, section.experiment, inputs.tracking_uri).finish(training.path, training.fingerprint)
    with store.lock(f"champion-{name}"):
        store.report("registry", 1, 4, "describing the run")
        _describe_run(client, run_id, inputs)  # MLflow fails where two runs name a new data set at once
        store.report("registry", 2, 4, "registering the model")
        version = find_or_create_version(client, run_id, section, inputs, store)
        store.report("registry", 3, 4, "measuring the champion")
        decision = settle(
            client,
            name,
            version,
            lambda champion: decide(section, measure(client, inputs, store, spread, version, champion)),
        )
        aliases = aliases_of(client, name, version)
    client.set_tag(run_id, "minimind.model", f"models:/{name}/{version}")  # two runs may yield one version
    client.set_terminated(run_id, "FINISHED")
    store.report("registry", 4, 4, f"version {version}: {decision.outcome.replace('_', ' ')}")
    logger.info("registry: %s version %s, %s: %s", name, version, decision.outcome, "; ".join(decision.reasons))
    _export(_model_files(inputs), folder / "model", model_card(inputs.config, inputs.stages))
    (folder / "decision.json").write_text(json.dumps(asdict(decision), indent=1, ensure_ascii=False) + "\n")
    client.log_artifact(run_id, str(folder / "decision.json"))
    details = {
        "name": name,
        "version": version,
        "uri": f"models:/{name}/{version}",
        "aliases": aliases,
        "run_id": run_id,
        "model_sha256": lineage.model_digest(training),
        "decision": asdict(decision),
    }
    announce(details)
    if UNANNOUNCED_TAG in client.get_model_version(name, version).tags:
        client.delete_model_version_tag(name, version, UNANNOUNCED_TAG)
    return Outcome({"version": int(version)}, details)


def _model_files(inputs: RegistryInputs) -> list[Path]:
    """The trained files, and the memory of their training text, which goes where the model goes."""
    return [*sorted((inputs.stages["training"].path / "model").iterdir()), *text_memory(inputs.stages)]


def _export(files: Sequence[Path], destination: Path, card: str) -> None:
    """The files and the card, which could not lie with them: a training is published before it is measured.

    The files are hard links where the disk has such, so that they take no room twice.
    """
    destination.mkdir()
    for path in files:
        try:
            os.link(path, destination / path.name)
        except OSError:
            shutil.copyfile(path, destination / path.name)
    (destination / CARD).write_text(card)


def _describe_run(client: "MlflowClient", run_id: str, inputs: RegistryInputs) -> None:
    """Everything but the series of metrics; all of it may be said twice without changing anything."""
    from mlflow.entities import Metric, RunTag

    stages = inputs.stages
    _log_parameters(client, run_id, lineage.parameters(inputs.config))
    evaluated_at = round(datetime.fromisoformat(stages["evaluation"].created_at).timestamp() * 1000)
    last_step = int(stages["training"].counts.get("steps", 0))
    metrics = [Metric(key, value, evaluated_at, last_step) for key, value in lineage.final_metrics(stages).items()]
    tags = [RunTag(key, value) for key, value in lineage.lineage_tags(stages, inputs.config.name).items()]
    client.log_batch(run_id, metrics=metrics, tags=tags)
    client.log_inputs(run_id, lineage.dataset_inputs(stages, inputs.config.name))
    client.log_text(run_id, lineage.resolved_yaml(inputs.config), "config.yaml")
    client.log_text(run_id, model_card(inputs.config, stages), CARD)
    for file in ("evaluation.json", "samples.json"):
        if file in stages["evaluation"].files:
            client.log_artifact(run_id, str(stages["evaluation"].file(file)))
    with tempfile.TemporaryDirectory() as temporary:
        lineage.write_lineage(stages, inputs.config, Path(temporary))
        client.log_artifacts(run_id, temporary, "lineage")


def _log_parameters(client: "MlflowClient", run_id: str, parameters: Mapping[str, str]) -> None:
    """MLflow never changes a parameter; where a later evaluation or margin differs, config.yaml has the present one."""
    from mlflow.entities import Param

    logged = client.get_run(run_id).data.params
    changed = sorted(key for key, value in parameters.items() if logged.get(key, value) != value)
    if changed:
        logger.info("registry: run %s keeps its first values of %s; config.yaml is current", run_id, ", ".join(changed))
    missing = [Param(key, value) for key, value in parameters.items() if key not in logged]
    for start in range(0, len(missing), MAX_BATCH_PARAMETERS):
        client.log_batch(run_id, params=missing[start : start + MAX_BATCH_PARAMETERS])
