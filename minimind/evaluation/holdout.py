"""The holdout documents that are scored: the same ones for every model and every reference."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from minimind.tokenizer.encoding import read_rows


class HoldoutDocument(NamedTuple):
    document_id: str
    source: str
    text_bytes: int  # UTF-8
    text: str


@dataclass(frozen=True)
class Holdout:
    documents: list[HoldoutDocument]  # ordered by document_id
    all_documents: int  # of the file; more than are scored if the holdout is very large
    all_bytes: int

    def without(self, document_ids: Collection[str]) -> "Holdout":
        """The same holdout with fewer documents to score."""
        left = [document for document in self.documents if document.document_id not in document_ids]
        return replace(self, documents=left)

    @cached_property
    def bytes(self) -> int:
        return sum(document.text_bytes for document in self.documents)


def read_holdout(path: Path, max_bytes: int) -> Holdout:
    """All documents of a holdout.parquet, or a sample of at most `max_bytes` of text, the same one every time."""
    sizes = {document_id: size for document_id, _, size, _ in read_rows(path)}
    chosen = set(first_by_hash(sizes, max_bytes))
    documents = [HoldoutDocument(*row) for row in read_rows(path) if row[0] in chosen]
    return Holdout(documents, all_documents=len(sizes), all_bytes=sum(sizes.values()))


def first_by_hash(sizes: Mapping[str, int], max_bytes: int) -> list[str]:
    """Document ids in the order of their hashes, without those whose text does not fit beside the others; one at least.

    Sizes are bytes by document id. Which documents are chosen depends on nothing else.
    """
    order = sorted(sizes, key=lambda document_id: hashlib.sha256(document_id.encode()).digest())
    chosen: list[str] = []
    total = 0
    for document_id in order:
        if total + sizes[document_id] <= max_bytes:
            chosen.append(document_id)
            total += sizes[document_id]
    return chosen or order[:1]
