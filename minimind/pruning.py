"""What may go from a store: neither a registered model nor a domain's newest build was made from it."""

import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from minimind.store import FOLDERS, Store, put_back

MAX_INTERRUPTED_DAYS = 40.0  # a schedule of a month comes round within 35, from one last Saturday to the next


@dataclass(frozen=True)
class Prunable:
    path: Path
    bytes: int
    reason: str


@dataclass(frozen=True)
class Registered:
    """What MLflow says of a store's builds."""

    named: Set[tuple[str, str]] = frozenset()  # stage and fingerprint, in the tags of a version that is to be kept
    given_up: Set[str] = frozenset()  # fingerprints of registrations that need nothing any more


NOTHING_REGISTERED = Registered()


def prunable(store: Store, unfinished: bool = False, registered: Registered = NOTHING_REGISTERED) -> list[Prunable]:
    """What may go: builds that neither a registered model nor a domain's newest build needs, and leftovers of kills.

    A leftover that a living run works on is locked, and is not listed. An interrupted training is continued by the next
    run of the same data and config; where none came for `MAX_INTERRUPTED_DAYS`, it may go, and with `unfinished` at
    once. A build that a kill left set aside while it was made anew is put back: it may be needed.
    """
    put_back_builds(store)
    kept = needed_builds(store, registered)
    max_days = 0.0 if unfinished else MAX_INTERRUPTED_DAYS
    rows = []
    for stage in FOLDERS:
        for manifest in store.manifests(stage):
            if (stage, manifest.fingerprint) not in kept:
                rows.append(Prunable(manifest.path, size_of(manifest.path), "replaced by a newer build"))
        for path in leftovers(store, stage, "building"):
            if stage != "training":
                rows.append(Prunable(path, size_of(path), "left by a run that did not finish"))
            elif (days := days_since_written(path)) >= max_days:
                reason = f"an interrupted training that no run has gone on with for {days:.0f} days"
                rows.append(Prunable(path, size_of(path), reason))
        for path in leftovers(store, stage, "outdated"):
            rows.append(Prunable(path, size_of(path), "replaced or pruned, and left half removed"))
    return rows


def put_back_builds(store: Store) -> None:
    for stage in FOLDERS:
        for path in leftovers(store, stage, "outdated"):
            with store.lock(lock_of(stage, path)):
                put_back(path.with_name(path.name.removeprefix(".outdated-")))


def leftovers(store: Store, stage: str, kind: str) -> list[Path]:
    """Folders `.building-*` or `.outdated-*` of a stage that no process works on."""
    found = sorted((store.root / stage).glob(f".{kind}-*"))
    return [path for path in found if not store.is_locked(lock_of(stage, path))]


def lock_of(stage: str, leftover: Path) -> str:
    return f"{stage}-{leftover.name.partition('-')[2]}"


def needed_builds(store: Store, registered: Registered = NOTHING_REGISTERED) -> set[tuple[str, str]]:
    """(stage, fingerprint) of all registered models and newest builds, with everything they were made from.

    A registered model is known by its build here, and, where a kill kept that from being published, by its tags.
    """
    roots = [manifest for manifest in store.manifests("registry") if manifest.fingerprint not in registered.given_up]
    roots += [manifest for stage, fingerprint in registered.named if (manifest := store.find(stage, fingerprint))]
    domains = {manifest.domain for stage in FOLDERS for manifest in store.manifests(stage)}
    for domain in domains:
        roots += [newest for stage in FOLDERS if (newest := Store(store.root, domain).newest(stage))]
    needed: set[tuple[str, str]] = set()
    while roots:
        manifest = roots.pop()
        if (manifest.stage, manifest.fingerprint) in needed:
            continue
        needed.add((manifest.stage, manifest.fingerprint))
        parents = (store.find(stage, fingerprint) for stage, fingerprint in manifest.parents.items())
        roots += [parent for parent in parents if parent]
    return needed


def days_since_written(folder: Path) -> float:
    """Of the file below that was written last; 0 where the clock says that this is still to come."""
    files = [path for path in folder.rglob("*") if path.is_file()]  # a folder's own time moves when it is pruned, too
    last = max(path.stat().st_mtime for path in files or [folder])
    return max(0.0, time.time() - last) / 86400


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
