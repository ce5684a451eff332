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


def write_fates(cleaning: Manifest, source_weights: Mapping[str, float], path: Path) -> None:
    """One row a document, in order of document_id: ids that begin alike, one behind the other, take little room."""
    tables = [
        _with_columns(_ids(cleaning, "train"), fate="trained"),
        _with_columns(_ids(cleaning, "holdout"), fate="holdout"),
    ]
    if "removed.parquet" in cleaning.files:
        wanted = ["document_id", "step", "reason", "kept_document_id"]
        tables.append(_with_columns(pq.read_table(cleaning.file("removed.parquet"), columns=wanted), fate="removed"))
    fates = pa.concat_tables(tables).sort_by("document_id")
    left_out = _left_out(cleaning, source_weights)
    if left_out:
        chosen = pc.is_in(fates["document_id"], pa.array(sorted(left_out), pa.string()))
        for name, value in (("fate", "left_out"), ("step", "shards"), ("reason", "source_weights")):
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


def _left_out(cleaning: Manifest, source_weights: Mapping[str, float]) -> set[str]:
    """Training documents that no epoch has, as their source weighs less than 1."""
    lighter = {source: weight for source, weight in source_weights.items() if weight < 1}
    if not lighter:
        return set()
    rows = pq.read_table(
        cleaning.file("train.parquet"), columns=["document_id", "source"], filters=[("source", "in", list(lighter))]
    )
    pairs = zip(rows["document_id"].to_pylist(), rows["source"].to_pylist(), strict=True)
    return {document_id for document_id, source in pairs if not occurrences(document_id, lighter[source])}
