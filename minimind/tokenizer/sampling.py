"""A part of the training documents, always the same part of the same documents."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

from minimind.tokenizer.encoding import ROWS_AT_ONCE, read_rows


class Sample(NamedTuple):
    document_ids: frozenset[str] | None  # None: every document
    documents: int
    bytes: int


def draw_sample(path: Path, max_bytes: int) -> Sample:
    """Documents of a Parquet file of cleaning in the order of `drawn`, until their texts have `max_bytes` or more.

    Whether a document is among the first does not depend on the others, so a corpus that grows keeps most of its
    sample. Only ids and sizes are held in memory.
    """
    sizes = [(document_id, size) for document_id, _, size in read_sizes(path)]
    total = sum(size for _, size in sizes)
    if total <= max_bytes:
        return Sample(None, len(sizes), total)
    chosen: set[str] = set()
    filled = 0
    for document_id, size in sorted(sizes, key=lambda pair: (drawn("tokenizer", pair[0]), pair[0])):
        if filled >= max_bytes:
            break
        chosen.add(document_id)
        filled += size
    return Sample(frozenset(chosen), len(chosen), filled)


def sample_texts(path: Path, sample: Sample) -> Iterator[str]:
    """The texts of a sample, in the order of the file."""
    wanted = sample.document_ids
    return (text for document_id, _, _, text in read_rows(path) if wanted is None or document_id in wanted)


def drawn(purpose: str, document_id: str) -> float:
    """A number in [0, 1) that depends on the two words alone: the same on every machine, in every version."""
    digest = hashlib.sha256(f"{purpose}\n{document_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def read_sizes(path: Path) -> Iterator[tuple[str, str, int]]:
    """(document_id, source, UTF-8 bytes of the text) of each row of a Parquet file of cleaning."""
    with pq.ParquetFile(path) as parquet:
        for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE, columns=["document_id", "source", "text"]):
            columns = (batch.column("document_id"), batch.column("source"), pc.binary_length(batch.column("text")))
            yield from zip(*(column.to_pylist() for column in columns), strict=True)
