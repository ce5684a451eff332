"""Which registrations of the store no alias in MLflow names any more."""

from minimind.registry.promotion import aliases_of
from minimind.registry.tracking import connect, if_there, refusals_said
from minimind.store import Store


def unaliased(store: Store, uri: str, keep: int) -> frozenset[str]:
    """Fingerprints of the registry's builds that are not among the `keep` newest of their domain and bear no alias.

    Raises ServerError if MLflow does not answer: what is not known stays.
    """
    by_domain: dict[str, list[tuple[str, str, str]]] = {}
    for manifest in store.manifests("registry"):
        name, version = str(manifest.details["name"]), str(manifest.details["version"])
        by_domain.setdefault(manifest.domain, []).append((manifest.fingerprint, name, version))
    older = [build for builds in by_domain.values() for build in builds[:-keep]]
    if not older:
        return frozenset()
    with refusals_said(uri):
        client = connect(uri)
        return frozenset(
            fingerprint
            for fingerprint, name, version in older
            if not if_there(lambda name=name, version=version: aliases_of(client, name, version))  # type: ignore[misc]
        )
