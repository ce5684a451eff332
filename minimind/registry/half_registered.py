"""Versions whose registration did not come to its end: the run was killed, or MLflow went away.

The next run of the domain that registers completes them, whatever model it brings itself.
"""

from typing import TYPE_CHECKING

from minimind.config import Config, validate_config
from minimind.errors import UserError
from minimind.registry.lineage import MADE_FROM, fingerprints
from minimind.registry.promotion import OUTCOME_TAG, UNANNOUNCED_TAG, champion_of
from minimind.registry.recorded import config_of
from minimind.registry.tracking import MODEL_TAG
from minimind.store import Manifest, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def half_registered(client: "MlflowClient", name: str) -> "list[ModelVersion]":
    """Oldest first: versions of ours whose decision nobody has been told of, or that no gate has judged.

    A champion that no gate has judged was made one by a person.
    """
    versions = [version for version in client.search_model_versions(f"name = '{name}'") if MODEL_TAG in version.tags]
    champion = champion_of(client, name) if versions else None
    half = [
        version
        for version in versions
        if UNANNOUNCED_TAG in version.tags or (OUTCOME_TAG not in version.tags and str(version.version) != champion)
    ]
    return sorted(half, key=lambda version: int(version.version))


def made_from(client: "MlflowClient", version: "ModelVersion", store: Store) -> tuple[Config, dict[str, Manifest]]:
    """The config of a version's run, and the builds that it was made from. Raises UserError where one is gone."""
    tree = config_of(client, version)
    if not tree:
        raise UserError("its run, or the config.yaml of that, is gone; delete the version in MLflow")
    named = fingerprints(version.tags)
    found = {stage: manifest for stage in named if (manifest := store.find(stage, named[stage]))}
    if missing := [f"{stage} {named.get(stage, '')}".rstrip() for stage in MADE_FROM if stage not in found]:
        raise UserError(
            f"{', '.join(missing)} is not in {store.root}; a run with the store that it was made in completes it, else "
            "delete the version in MLflow"
        )
    return validate_config(tree, f"config.yaml of run {version.run_id}"), found
