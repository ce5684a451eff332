"""Which builds of a store the versions in MLflow need, and which registrations no version needs any more."""

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from minimind.errors import ModelNotFoundError
from minimind.pruning import NOTHING_REGISTERED, Registered
from minimind.registry.lineage import fingerprints
from minimind.registry.packaged_model import opened
from minimind.store import Manifest, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient


def needs_of_versions(store: Store, uri: str, keep: int | None = None) -> Registered:
    """What the versions of the store's domains name in their tags; with `keep`, those with an alias and so many newest
    alone, while the registrations of the others are given up.

    What MLflow does not know stays. Raises ServerError if it does not answer. Where it is not there, nothing is
    registered; with `keep`, which asks for its versions, that is a ModelNotFoundError.
    """
    builds = [*store.manifests("registry"), *store.manifests("evaluation")]
    if not builds:
        return NOTHING_REGISTERED
    named: set[tuple[str, str]] = set()
    given_up: set[str] = set()
    try:
        with opened(uri, store.root) as client:
            for name in sorted({build.domain for build in builds}):
                found = client.search_model_versions(f"name = '{name}'")
                versions = {int(version.version): version for version in found}
                kept = _kept(client, name, versions.keys(), keep)
                named |= {build for number in kept for build in fingerprints(versions[number].tags).items()}
                given_up |= _registrations(builds, name, versions.keys() - kept)
    except ModelNotFoundError:
        if keep is not None:
            raise
    return Registered(named, given_up)


def _kept(client: "MlflowClient", name: str, numbers: Set[int], keep: int | None) -> Set[int]:
    if keep is None or not numbers:
        return numbers
    aliases = client.get_registered_model(name).aliases
    return {*sorted(numbers)[-keep:], *(int(version) for version in aliases.values())} & numbers


def _registrations(builds: Sequence[Manifest], name: str, numbers: Set[int]) -> set[str]:
    """Fingerprints; a version has several where it was judged again."""
    return {
        build.fingerprint
        for build in builds
        if (build.stage, build.domain) == ("registry", name) and int(build.details["version"]) in numbers
    }
