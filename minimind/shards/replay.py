"""Old documents in an epoch: as many of those that a model has seen before as the config wants beside the new ones."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from minimind.tokenizer.sampling import drawn, read_sizes

logger = logging.getLogger(__name__)

HALVINGS = 60  # of an interval of weights


@dataclass(frozen=True)
class OldDocuments:
    """Documents that were training documents before, and what their weights are multiplied by."""

    ids: frozenset[str]
    weight: float


def weigh_old_documents(train: Path, ledger: Path, weights: Mapping[str, float], share: float) -> OldDocuments:
    """The training documents that `ledger` knows, with the least weight by which they have `share` of an epoch's bytes.

    Documents are known by their ids. Where all are old or none is, no weight reaches the share: then each stands as
    its source's weight says, and the log says so.
    """
    ids = training_documents(ledger)
    rows = list(read_sizes(train))
    old = np.array([document_id in ids for document_id, _, _ in rows], dtype=bool)
    sizes = np.array([size for _, _, size in rows], dtype=np.float64)
    source_weights = np.array([weights.get(source, 1.0) for _, source, _ in rows])
    draws = np.array([drawn("weight", document_id) for document_id, _, _ in rows])

    def epoch_bytes(chosen: NDArray[np.bool_], weight: float) -> float:
        wanted = source_weights[chosen] * weight
        return float(sizes[chosen] @ (np.floor(wanted) + (draws[chosen] < wanted % 1)))

    new_bytes, old_bytes = epoch_bytes(~old, 1.0), epoch_bytes(old, 1.0)
    if not (new_bytes and old_bytes):
        logger.warning(
            "shards: %s of the training documents is old, so that shards.old_documents_share is left aside",
            "every one" if old_bytes else "none",
        )
        return OldDocuments(ids, 1.0)
    wanted_bytes = share / (1 - share) * new_bytes
    low, high = 0.0, 1.0
    while epoch_bytes(old, high) < wanted_bytes:
        low, high = high, 2 * high
    for _ in range(HALVINGS if share else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if epoch_bytes(old, middle) < wanted_bytes else (low, middle)
    return OldDocuments(ids, high if share else 0.0)


def training_documents(ledger: Path) -> frozenset[str]:
    """Ids of all documents that were ever assigned to training."""
    table = pq.read_table(ledger, columns=["document_id"], filters=[("split", "==", "train")])
    return frozenset(table.column("document_id").to_pylist())
