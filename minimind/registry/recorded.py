"""The lineage of a registered version, read back from MLflow; the store is not asked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from minimind.errors import ModelNotFoundError, UserError
from minimind.registry.document_fates import FATES, Fate, find_fate
from minimind.registry.lineage import MADE_FROM, PARENT_TAG
from minimind.registry.packaged_model import find_version, quoted, what_exists
from minimind.registry.promotion import aliases_of, champion_of
from minimind.registry.tracking import if_there, run_of
from minimind.store import Manifest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

LINEAGE = "lineage"  # folder of a run
FILES, PLAN, CONFIG = f"{LINEAGE}/files.jsonl", f"{LINEAGE}/plan.json", "config.yaml"
FATES_PATH = f"{LINEAGE}/{FATES}"


@dataclass(frozen=True)
class Recorded:
    """All that a version carries. A file that it lacks, as one registered by an earlier release does, is None."""

    name: str
    version: str
    aliases: list[str]
    tags: Mapping[str, str]
    run_id: str
    stages: Mapping[str, Manifest]
    files: list[dict[str, Any]] | None = field(repr=False)  # of the corpus: source, path, sha256, license, ...
    plan: dict[str, Any] | None = field(repr=False)
    config_yaml: str | None = field(repr=False)  # resolved; secrets in addresses are masked

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


def version_named(client: "MlflowClient", model: str) -> "ModelVersion":
    """The version that NAME, NAME@ALIAS or NAME/3 means, `models:/` before it or not; of a bare name, the champion.

    A name without a champion means its newest version. Raises ModelNotFoundError, which says what there is instead.
    """
    from mlflow.exceptions import MlflowException

    address = model.removeprefix("models:/")
    if "@" in address or "/" in address:
        return find_version(client, f"models:/{address}")
    try:
        champion = champion_of(client, address)
    except MlflowException as error:
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            raise
        champion = None
    versions = [int(version.version) for version in client.search_model_versions(f"name = '{quoted(address)}'")]
    if champion is None and not versions:
        raise ModelNotFoundError(f"there is no model {address!r}: {what_exists(client, address)}")
    return client.get_model_version(address, champion or str(max(versions)))


def read_recorded(client: "MlflowClient", version: "ModelVersion") -> Recorded:
    """Raises UserError where the version or its run carries no lineage."""
    run_id = str(version.run_id or "")
    wanted = [*(f"{LINEAGE}/{stage}.json" for stage in MADE_FROM), FILES, PLAN, CONFIG]
    with TemporaryDirectory() as temporary:
        files = _download(client, run_id, wanted, Path(temporary))
        missing = [stage for stage in MADE_FROM if f"{LINEAGE}/{stage}.json" not in files]
        if missing:
            raise UserError(
                f"models:/{version.name}/{version.version} carries no lineage: its run {run_id or '(none)'} has no "
                f"manifest of {', '.join(missing)}; it was not registered by `minimind run`"
            )
        stages = {stage: _manifest(files[f"{LINEAGE}/{stage}.json"]) for stage in MADE_FROM}
        lines = files[FILES].read_text().splitlines() if FILES in files else None
        plan = json.loads(files[PLAN].read_bytes()) if PLAN in files else None
        config = files[CONFIG].read_text() if CONFIG in files else None
    name, number = str(version.name), str(version.version)
    return Recorded(
        name=name,
        version=number,
        aliases=aliases_of(client, name, number),
        tags=dict(version.tags),
        run_id=run_id,
        stages=stages,
        files=None if lines is None else [json.loads(line) for line in lines],
        plan=plan,
        config_yaml=config,
    )


def config_of(client: "MlflowClient", version: "ModelVersion") -> dict[str, Any]:
    """The resolved YAML of the run that made a version; empty where the run has none any more."""
    if not version.run_id or not run_of(client, version):
        return {}
    with TemporaryDirectory() as temporary:
        files = _download(client, version.run_id, [CONFIG], Path(temporary))
        tree = yaml.safe_load(files[CONFIG].read_text()) if CONFIG in files else None
    return tree if isinstance(tree, dict) else {}


def _manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path.name} of the lineage is no manifest that this version of the project reads") from error


def _download(client: "MlflowClient", run_id: str, wanted: list[str], folder: Path) -> dict[str, Path]:
    """Those of these artifacts that the run has, by their path in it."""
    if not run_id:
        return {}
    there = if_there(lambda: {file.path for place in (None, LINEAGE) for file in client.list_artifacts(run_id, place)})
    return {
        name: Path(client.download_artifacts(run_id, name, str(folder))) for name in wanted if name in (there or ())
    }


# --- a document -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DocumentInVersion:
    """What a version made of a document; `known` is False where it keeps no table of its documents."""

    name: str
    version: str
    aliases: list[str]
    known: bool
    fate: Fate | None = None  # None: it was not in the corpus
    excluded: bool = False  # by corpus.exclude_ids
    epochs: float | None = None  # of training; below 1, not all documents were seen
    parent: str | None = None  # version of the same name that its training went on from
    from_folder: bool = False  # its training went on from a model that is none of these versions


def look_up_document(client: "MlflowClient", document_id: str, model: str | None) -> list[DocumentInVersion]:
    """For every registered version of every model, or of `model` alone, in order."""
    names = [model] if model else sorted(str(found.name) for found in client.search_registered_models(max_results=1000))
    versions = [version for name in names for version in client.search_model_versions(f"name = '{quoted(name)}'")]
    if model and not versions:
        raise ModelNotFoundError(f"there is no model {model!r}: {what_exists(client, model)}")
    versions.sort(key=lambda version: (version.name, int(version.version)))
    return [_in_version(client, version, document_id) for version in versions]


def _in_version(client: "MlflowClient", version: "ModelVersion", document_id: str) -> DocumentInVersion:
    name, number = str(version.name), str(version.version)
    aliases = aliases_of(client, name, number)
    with TemporaryDirectory() as temporary:
        made_by = [f"{LINEAGE}/{stage}.json" for stage in ("corpus", "training")]
        files = _download(client, str(version.run_id or ""), [FATES_PATH, *made_by], Path(temporary))
        if FATES_PATH not in files:
            return DocumentInVersion(name, number, aliases, known=False)
        corpus, training = (_manifest(files[path]) for path in made_by)
        return DocumentInVersion(
            name,
            number,
            aliases,
            known=True,
            fate=find_fate(files[FATES_PATH], document_id),
            excluded=document_id in corpus.config.get("exclude_ids", []),
            epochs=training.counts.get("epochs"),
            parent=dict(version.tags).get(PARENT_TAG),
            from_folder="version" not in training.details.get("started_from", {"version": None}),
        )
