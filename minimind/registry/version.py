"""The version of a model under its name: made once, and kept at what its run says."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from minimind.config import Config, RegistryConfig
from minimind.evaluation import overlap
from minimind.registry import lineage
from minimind.registry.model_card import CARD, model_card
from minimind.registry.packaged_model import save_packaged_model
from minimind.registry.tracking import MODEL_TAG, find_experiment
from minimind.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from minimind.registry.build import RegistryInputs

MODEL_ID_TAG = "minimind.model_id"  # of the logged model; MLflow's own field of a version may be empty
EXPORTED = "artifacts/model"  # in a logged model: what is exported to the store, too
MAX_DESCRIPTION_CHARS = 5000  # MLflow's column; PostgreSQL refuses more
REST_OF_CARD = "\n\nThe rest is in README.md of the run.\n"


def find_or_create_version(
    client: "MlflowClient", run_id: str, section: RegistryConfig, inputs: "RegistryInputs", store: Store
) -> str:
    """The one version of these weights under this name. A kill leaves at most an upload, which the next run ends."""
    name, digest = inputs.config.name, lineage.model_digest(inputs.stages["training"])
    _ensure_registered_model(client, inputs.config)
    tags, card = lineage.lineage_tags(inputs.stages, name), model_card(inputs.config, inputs.stages)
    versions = client.search_model_versions(f"name = '{name}' and tags.`{MODEL_TAG}` = '{digest}'")
    if versions:
        version = min(versions, key=lambda found: int(found.version))
        if version.run_id == run_id:  # else another training has made the same bytes: its lineage is that of its run
            _describe_anew(client, version, tags, card)
        return str(version.version)
    experiment_id = find_experiment(client, section.experiment, inputs.tracking_uri, store)
    model_id, location = _find_or_log_model(client, run_id, experiment_id, digest, inputs, card)
    version = client.create_model_version(
        name, source=location, run_id=run_id, tags=tags | {MODEL_ID_TAG: model_id}, description=as_description(card),
        model_id=model_id,
    )  # fmt: skip
    return str(version.version)


def _describe_anew(client: "MlflowClient", version: "ModelVersion", tags: Mapping[str, str], card: str) -> None:
    """Has the version say what its run says by now: the model may have been evaluated again since.

    The tags last, so that what a kill leaves half done is known to be.
    """
    changed = {key: value for key, value in tags.items() if version.tags.get(key) != value}
    if not changed and version.description == as_description(card):
        return
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / CARD).write_text(card)
        client.log_model_artifact(version.tags[MODEL_ID_TAG], str(Path(temporary) / CARD), EXPORTED)
    client.update_model_version(version.name, version.version, as_description(card))
    for key, value in changed.items():
        client.set_model_version_tag(version.name, version.version, key, value)


def as_description(card: str) -> str:
    """A card as MLflow's column holds it: whole lines, and where the rest is."""
    if len(card) < MAX_DESCRIPTION_CHARS:
        return card
    cut = card[: MAX_DESCRIPTION_CHARS - 1 - len(REST_OF_CARD)]
    return cut[: cut.rindex("\n")].rstrip() + REST_OF_CARD


def _ensure_registered_model(client: "MlflowClient", config: Config) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(config.name, description=config.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _find_or_log_model(
    client: "MlflowClient", run_id: str, experiment_id: str, digest: str, inputs: "RegistryInputs", card: str
) -> tuple[str, str]:
    """Id and place of the logged model; uploads that were cut short are removed."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    for earlier in client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'"):
        if earlier.status == LoggedModelStatus.READY and earlier.tags.get(MODEL_TAG) == digest:
            return str(earlier.model_id), str(earlier.artifact_location)
        if earlier.status != LoggedModelStatus.READY:
            client.delete_logged_model(earlier.model_id)
    tags = lineage.lineage_tags(inputs.stages, inputs.config.name)
    logged = client.create_logged_model(experiment_id, name=inputs.config.name, source_run_id=run_id, tags=tags)
    description = Model(
        artifact_path=logged.artifact_location, model_uuid=logged.model_id, run_id=run_id, model_id=logged.model_id
    )
    with tempfile.TemporaryDirectory() as temporary:
        packed = Path(temporary) / "model"
        trained = inputs.stages["training"].path / "model"
        save_packaged_model(trained, packed, description, text_memory(inputs.stages))
        (packed / EXPORTED / CARD).write_text(card)
        client.log_model_artifacts(logged.model_id, str(packed))
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return str(logged.model_id), str(logged.artifact_location)


def text_memory(stages: lineage.Stages) -> list[Path]:
    """The file with the memory of the training text, as far as the evaluation has kept one."""
    evaluation = stages["evaluation"]
    return [evaluation.file(name) for name in evaluation.files if name == overlap.FILE_NAME]
