"""Which registrations of the store no alias in MLflow names any more."""

from typing import TYPE_CHECKING

from minimind.registry.packaged_model import opened
from minimind.registry.promotion import aliases_of
from minimind.registry.tracking import if_there
from minimind.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient


def unaliased(store: Store, uri: str, keep: int) -> frozenset[str]:
    """Fingerprints of the registry's builds that are not among the `keep` newest of their domain and bear no alias.

    What MLflow does not know stays. Raises ServerError if it does not answer, ModelNotFoundError if it is not there.
    """
    by_domain: dict[str, list[tuple[str, str, str]]] = {}
    for manifest in store.manifests("registry"):
        name, version = str(manifest.details["name"]), str(manifest.details["version"])
        by_domain.setdefault(manifest.domain, []).append((manifest.fingerprint, name, version))
    older = [build for builds in by_domain.values() for build in builds[:-keep]]
    if not older:
        return frozenset()
    with opened(uri, store.root) as client:
        return frozenset(fingerprint for fingerprint, name, version in older if _bears_no_alias(client, name, version))


def _bears_no_alias(client: "MlflowClient", name: str, version: str) -> bool:
    """False, too, of a version that is not there."""
    known = if_there(lambda: client.get_model_version(name, version))
    return known is not None and not aliases_of(client, name, version)
