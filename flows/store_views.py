"""`minimind store`: what is kept, which part of a fingerprint changed, what may go."""

import json
import sys
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from flows.settings import store_root, tracking_uri
from minimind.errors import UserError
from minimind.pruning import NOTHING_REGISTERED, Prunable, Registered, prunable, size_of
from minimind.store import FOLDERS, GIT_SCRATCH, MEASURING, SCRATCH, Manifest, Recipe, Store, remove

REPRODUCTION = ".reproduction-"  # before the name of the store in which a model is made again
KILLED = "left by a command that was killed"
BESIDE_BUILDS = {  # beginning of a folder's path within the store -> why it may go
    REPRODUCTION: "a reproduction that was kept, or did not finish",
    SCRATCH: KILLED,
    f"downloads/{GIT_SCRATCH}": KILLED,
    f"plans/{MEASURING}": KILLED,
}

ANY_WIDTH = 1_000  # a terminal breaks lines that are too long for it, a pipe takes them as they are


def list_builds(option: Path | None, as_json: bool) -> None:
    store = existing_store(option)
    rows = [
        {
            "stage": manifest.stage,
            "domain": manifest.domain,
            "fingerprint": manifest.fingerprint,
            "created_at": manifest.created_at,
            "seconds": manifest.seconds,
            "bytes": size_of(manifest.path),
            "path": str(manifest.path),
        }
        for stage in FOLDERS
        for manifest in store.manifests(stage)
    ]
    texts = [
        {"domain": path.parent.name, "fingerprint": path.name, "bytes": size_of(path), "path": str(path)}
        for path in sorted((store.root / "texts").glob("*/*"))
    ]
    if as_json:
        print(json.dumps({"builds": rows, "texts": texts}))
        return
    print(f"{store.root}, {sum(int(str(row['bytes'])) for row in [*rows, *texts]) / 1e6:,.1f} MB")
    table = Table(show_edge=False, pad_edge=False)
    for column in ("stage", "domain", "fingerprint", "built", "seconds", "MB"):
        justify: Literal["left", "right"] = "right" if column in ("seconds", "MB") else "left"
        table.add_column(column, justify=justify, no_wrap=True)
    for row in rows:
        size, when = f"{int(str(row['bytes'])) / 1e6:,.1f}", str(row["created_at"])[:16].replace("T", " ")
        table.add_row(
            str(row["stage"]), str(row["domain"]), str(row["fingerprint"]), when, f"{row['seconds']:,.1f}", size
        )
    for row in texts:
        size = f"{int(str(row['bytes'])) / 1e6:,.1f}"
        table.add_row("(texts)", str(row["domain"]), str(row["fingerprint"]), "", "", size)
    Console(width=ANY_WIDTH).print(table)


def explain_build(stage: str, domain: str | None, option: Path | None, as_json: bool) -> None:
    store = existing_store(option)
    domains = sorted({manifest.domain for manifest in store.manifests(stage)})
    if domain is None and len(domains) > 1:
        raise UserError(f"the store holds several domains; add --domain with one of {', '.join(domains)}")
    builds = store.manifests(stage, domain)
    if not builds:
        raise UserError(f"{stage} has not been built in {store.root}" + (f" for {domain}" if domain else ""))
    earlier, last = builds[-2] if len(builds) > 1 else None, builds[-1]
    changed = as_recipe(last).differences(earlier) if earlier else []
    if as_json:
        print(json.dumps({
            "stage": stage, "domain": last.domain, "fingerprint": last.fingerprint,
            "earlier": earlier.fingerprint if earlier else None, "changed": changed,
        }))  # fmt: skip
    elif earlier is None:
        print(f"{stage} {last.fingerprint} is the only build of {last.domain}; nothing came before it")
    else:
        print(f"{stage} of {last.domain}: {earlier.fingerprint} -> {last.fingerprint}")
        print("\n".join(f"  {line}" for line in changed))


def as_recipe(manifest: Manifest) -> Recipe:
    return Recipe(manifest.stage, manifest.config, manifest.inputs, manifest.code, manifest.libraries, manifest.parents)


def prune_builds(
    dry_run: bool, unfinished: bool, keep_versions: int | None, document: str | None, domain: str | None,
    option: Path | None, as_json: bool,
) -> None:  # fmt: skip
    store = existing_store(option)
    if dry_run:
        folders = removable(store, unfinished, keep_versions, document, domain)
        texts = texts_of_no_corpus(store, remove=False)
    else:
        folders, texts = prune_store(store, unfinished, keep_versions, document, domain)
    if as_json:
        listed = as_rows(folders)
        done = {"removed": [] if dry_run else listed, "prunable": listed if dry_run else []}
        print(json.dumps(done | {"within": as_rows(texts)}))  # parts of these folders, which stay
        return
    rows = folders + texts
    for row in rows:
        print(f"{row.path}  {row.bytes / 1e6:,.1f} MB  {row.reason}")
    if not rows:
        print("nothing may go" if dry_run else "nothing had to go", file=sys.stderr)
        return
    total = f"{sum(row.bytes for row in rows) / 1e6:,.1f} MB in {len(rows)} folders"
    print(f"{total} may go; `minimind store prune` removes them" if dry_run else f"removed {total}", file=sys.stderr)


def prune_store(
    store: Store, unfinished: bool = False, keep_versions: int | None = None, document: str | None = None,
    domain: str | None = None,
) -> tuple[list[Prunable], list[Prunable]]:  # fmt: skip
    """What was removed: folders, and texts within folders that stay. Raises StoreInUseError while a run uses them."""
    with store.unused():
        folders = removable(store, unfinished, keep_versions, document, domain)
        for row in folders:
            remove(row.path)
        return folders, texts_of_no_corpus(store, remove=True)


def registered_versions(store: Store, keep_versions: int | None) -> Registered:
    """What the versions in MLflow need of the store; with a number, those with an alias and so many newest of a domain
    alone. Raises ServerError if MLflow does not answer."""
    if keep_versions is None and not any(store.manifests(stage) for stage in ("evaluation", "registry")):
        return NOTHING_REGISTERED  # whatever is registered was evaluated: nobody needs to be asked
    from minimind.registry.needs import needs_of_versions

    return needs_of_versions(store, tracking_uri(store.root), keep_versions)


def removable(
    store: Store, unfinished: bool, keep_versions: int | None, document: str | None, domain: str | None
) -> list[Prunable]:
    """What no run needs; with a document, also the builds that hold it, though a registered model was made of them."""
    rows = prunable(store, unfinished, registered_versions(store, keep_versions))
    rows += [
        Prunable(path, size_of(path), reason)
        for prefix, reason in BESIDE_BUILDS.items()
        for path in sorted(store.root.glob(f"{prefix}*"))
    ]
    if document is None:
        return rows
    from minimind.audit.holding import builds_to_erase

    listed = {row.path for row in rows}
    holding = [found for found in builds_to_erase(store, document, domain) if found.path not in listed]
    return rows + [Prunable(found.path, size_of(found.path), f"holds {document}") for found in holding]


def as_rows(rows: list[Prunable]) -> list[dict[str, str | int]]:
    return [{"path": str(row.path), "bytes": row.bytes, "reason": row.reason} for row in rows]


def texts_of_no_corpus(store: Store, remove: bool) -> list[Prunable]:
    if not (store.root / "texts").is_dir():
        return []
    from minimind.cleaning.forgotten_texts import forgotten_texts

    return [
        Prunable(found.path, found.bytes, f"{found.texts:,} of {found.of:,} texts read are in no corpus any more")
        for found in forgotten_texts(store, remove)
    ]


def existing_store(option: Path | None) -> Store:
    root = store_root(option)
    if not root.is_dir():
        raise UserError(f"there is no store at {root}; `minimind run` makes one, --store names another")
    return Store(root, domain="")
