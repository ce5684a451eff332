"""Which builds of the store still hold a document's text, for the day it has to be erased."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from minimind.errors import UserError
from minimind.store import Manifest, Store

# stage -> beginnings of the names of files that have a text, or its tokens, beside a column `document_id`
HOLDING = {
    "corpus": ("documents-",),
    "cleaning": ("train.parquet", "holdout.parquet", "removed.parquet"),
    "shards": ("train-", "holdout-"),
}
QUOTING = {"evaluation": "samples.json", "explore": "manifest.json"}  # stage -> the file with what a model went on from


@dataclass(frozen=True)
class Holding:
    manifest: Manifest
    files: list[str]


def builds_holding(store: Store, document_id: str, domain: str | None = None) -> list[Holding]:
    """Builds with the document, and those whose samples quote it; in the order of the stages."""
    found = []
    for stage, prefixes in HOLDING.items():
        for manifest in store.manifests(stage, domain):
            names = [name for prefix in prefixes for name in manifest.matching(prefix)]
            if holding := [name for name in names if has_document(manifest.file(name), document_id)]:
                found.append(Holding(manifest, holding))
    for stage, name in QUOTING.items():
        for manifest in store.manifests(stage, domain):
            samples = manifest.details.get("samples", [])
            if any(sample.get("document_id") == document_id for sample in samples):
                found.append(Holding(manifest, [name]))
    return found


def builds_to_erase(store: Store, document_id: str, domain: str | None) -> list[Manifest]:
    """The builds that hold the document. Raises UserError where the next run would read it again, or which is meant is
    not clear."""
    holding = builds_holding(store, document_id, domain)
    if not holding:
        raise UserError(
            f"no build in {store.root} holds the document {document_id!r}; ids are written in full, as source/id, and "
            "`minimind documents CONFIG --like WORDS` finds them"
        )
    domains = sorted({found.manifest.domain for found in holding})
    if len(domains) > 1:
        raise UserError(f"{', '.join(domains)} have a document {document_id!r} each; add --domain with one of them")
    newest = Store(store.root, domains[0]).newest("corpus")
    if newest and newest.fingerprint in {found.manifest.fingerprint for found in holding}:
        raise UserError(
            f"the newest corpus of {domains[0]} holds {document_id!r}, so the next run would read it again; add it to "
            "corpus.exclude_ids in the YAML and run `minimind run` (or `minimind clean`) first"
        )
    return [found.manifest for found in holding]


def has_document(path: Path, document_id: str) -> bool:
    files: Any = ds.dataset(str(path), format="ipc" if path.suffix == ".arrow" else "parquet")
    return "document_id" in files.schema.names and bool(files.count_rows(filter=ds.field("document_id") == document_id))
