"""What became of each document of a retraining, in one small table that lies with the model.

It needs no store: years later it says whether a model was trained on a document, though all builds are pruned.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from minimind.shards.mixing import occurrences
from minimind.shards.reader import ShardReader
from minimind.store import Manifest

FATES = "documents.parquet"
SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.string()),
        pa.field("fate", pa.string()),
        pa.field("step", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("kept_document_id", pa.string()),
    ]
)
NAMES = ("fate", "step", "reason")


class Fate(NamedTuple):
    """`step` and `reason` say why a document was removed or left out; `kept_document_id` which one stands for it."""

    fate: Literal["trained", "holdout", "removed", "left_out"]
    step: str | None
    reason: str | None
    kept_document_id: str | None


def write_fates(cleaning: Manifest, shards: Manifest, source_weights: Mapping[str, float], path: Path) -> None:
    """One row a document, in order of document_id: ids that begin alike, one behind the other, take little room.

    Trained on are the documents that stand in the shards; the weights only say why another one does not.
    """
    tables = [
        _with_columns(_ids(cleaning, "train"), fate="trained"),
        _with_columns(_ids(cleaning, "holdout"), fate="holdout"),
    ]
    if "removed.parquet" in cleaning.files:
        wanted = ["document_id", "step", "reason", "kept_document_id"]
        tables.append(_with_columns(pq.read_table(cleaning.file("removed.parquet"), columns=wanted), fate="removed"))
    fates = pa.concat_tables(tables).sort_by("document_id")
    left_out = _left_out(cleaning, shards, source_weights)
    for reason, documents in left_out.items():
        chosen = pc.is_in(fates["document_id"], pa.array(documents, pa.string()))
        for name, value in (("fate", "left_out"), ("step", "shards"), ("reason", reason)):
            changed = pc.if_else(chosen, pa.scalar(value), fates[name])
            fates = fates.set_column(fates.schema.get_field_index(name), SCHEMA.field(name), changed)
    pq.write_table(
        fates,
        path,
        compression="zstd",
        use_dictionary=list(NAMES),
        column_encoding={"document_id": "DELTA_BYTE_ARRAY", "kept_document_id": "DELTA_BYTE_ARRAY"},
    )


def find_fate(path: Path, document_id: str) -> Fate | None:
    """None for a document that was not in the corpus."""
    found = pq.read_table(path, filters=[("document_id", "=", document_id)]).to_pylist()
    return Fate(*(found[0][name] for name in Fate._fields)) if found else None


def _ids(cleaning: Manifest, split: str) -> Any:
    return pq.read_table(cleaning.file(f"{split}.parquet"), columns=["document_id"])


def _with_columns(table: Any, fate: str) -> Any:
    """The table with the columns of SCHEMA, null where it has none."""
    rows = len(table)
    columns = {
        name: table[name] if name in table.column_names else pa.nulls(rows, pa.string()) for name in SCHEMA.names
    }
    return pa.table(columns | {"fate": pa.repeat(pa.scalar(fate), rows)}, schema=SCHEMA)


def _left_out(cleaning: Manifest, shards: Manifest, source_weights: Mapping[str, float]) -> dict[str, list[str]]:
    """Reason -> training documents that no epoch has: their source weighs too little, or they are old."""
    kept = set(ShardReader(shards.path, "train").document_ids)
    rows = pq.read_table(cleaning.file("train.parquet"), columns=["document_id", "source"])
    left_out: dict[str, list[str]] = {}
    for document_id, source in zip(rows["document_id"].to_pylist(), rows["source"].to_pylist(), strict=True):
        if document_id not in kept:
            of_source = occurrences(document_id, source_weights.get(source, 1.0))
            reason = "old_documents_share" if of_source else "source_weights"
            left_out.setdefault(reason, []).append(document_id)
    return left_out
