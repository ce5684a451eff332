"""Shard files: Arrow IPC, uncompressed, one record batch each, so that a reader maps them instead of reading them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from minimind.tokenizer.encoding import TokenizedDocument


def write_shard(path: Path, documents: Sequence[TokenizedDocument], vocabulary_size: int) -> None:
    """One row a document: document_id, source, text_bytes int64, occurrences int32, tokens list<uint16 or uint32>."""
    offsets = np.zeros(len(documents) + 1, dtype=np.int64)
    np.cumsum([len(document.tokens) for document in documents], out=offsets[1:])
    tokens = np.concatenate([document.tokens for document in documents], dtype=token_dtype(vocabulary_size))
    _write_record_batch(
        path,
        {
            "document_id": pa.array([document.document_id for document in documents], pa.string()),
            "source": pa.array([document.source for document in documents], pa.string()),
            "text_bytes": pa.array([document.text_bytes for document in documents], pa.int64()),
            "occurrences": pa.array([document.occurrences for document in documents], pa.int32()),
            "tokens": pa.LargeListArray.from_arrays(offsets, pa.array(tokens)),
        },
    )


def write_token_bytes(path: Path, token_lengths: NDArray[np.int32]) -> None:
    """Bytes of text by token id; as many rows as the vocabulary has tokens."""
    _write_record_batch(path, {"token_bytes": pa.array(token_lengths, pa.int32())})


def token_dtype(vocabulary_size: int) -> type[np.uint16] | type[np.uint32]:
    return np.uint16 if vocabulary_size <= 2**16 else np.uint32


def _write_record_batch(path: Path, columns: dict[str, pa.Array]) -> None:
    batch = pa.RecordBatch.from_pydict(columns)
    with pa.ipc.new_file(path, batch.schema) as file:
        file.write_batch(batch)
