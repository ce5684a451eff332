"""Encoding in parts: runs of row groups of a Parquet file of cleaning, each as token ids in a file of its own."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from minimind.parts import Report, cores, silent
from minimind.shards.writer import write_shard
from minimind.tokenizer.bpe import load_tokenizer
from minimind.tokenizer.encoding import TokenizedDocument, tokenized_documents
from minimind.tokenizer.fast_encoding import encoding_by

PART_BYTES = 64_000_000  # of text; a part's tokens are held in memory, in four bytes each
REPORTED_DOCUMENTS = 200


@dataclass(frozen=True)
class TokenizingPart:
    """What of a split to encode, with what, and where its tokens go: a file that is there at once and whole."""

    target: Path
    texts: Path
    row_groups: tuple[int, ...]
    tokenizer: Path
    library: str  # that encodes
    vocabulary_size: int
    at_once: int  # of so many parts that the machine works on
    size: float  # bytes of text

    @property
    def name(self) -> str:
        return f"tokenizing {self.target.stem}"


def runs_of_row_groups(texts: Path, part_bytes: int) -> list[tuple[tuple[int, ...], int]]:
    """(row groups, bytes of their texts) of each part, in the order of the file; a row group is never divided."""
    with pq.ParquetFile(texts) as parquet:
        metadata, column = parquet.metadata, parquet.schema_arrow.names.index("text")
        sizes = [metadata.row_group(n).column(column).total_uncompressed_size for n in range(metadata.num_row_groups)]
    runs: list[tuple[tuple[int, ...], int]] = []
    for number, size in enumerate(sizes):
        groups, filled = runs[-1] if runs else ((), part_bytes)
        if filled + size > part_bytes:
            runs.append(((number,), size))
        else:
            runs[-1] = ((*groups, number), filled + size)
    return runs


def tokenize_part(part: TokenizingPart, report: Report = silent) -> None:
    """Writes the part's documents as a shard has them, in their order."""
    encode = encoding_by(part.library, load_tokenizer(part.tokenizer))
    threads = max(1, cores() // part.at_once)
    documents: list[TokenizedDocument] = []
    done = 0
    for document in tokenized_documents(encode, part.texts, part.row_groups, threads):
        if len(documents) % REPORTED_DOCUMENTS == 0:
            report(done, part.size, f"encoding {part.texts.stem}")
        documents.append(document)
        done += document.text_bytes
    beside = part.target.with_name(f".{part.target.name}-{uuid.uuid4().hex[:8]}")
    write_shard(beside, documents, part.vocabulary_size)
    os.replace(beside, part.target)
    report(part.size, part.size, f"encoding {part.texts.stem}")


def documents_of(target: Path) -> Iterator[TokenizedDocument]:
    """What `tokenize_part` has written; the tokens lie in the mapped file."""
    with pa.memory_map(str(target)) as mapped, pa.ipc.open_file(mapped) as file:
        batch = file.get_batch(0)
    tokens = batch.column("tokens")
    ids, offsets = tokens.values.to_numpy(zero_copy_only=True), tokens.offsets.to_numpy(zero_copy_only=True)
    columns = (batch.column(name).to_pylist() for name in ("document_id", "source", "text_bytes"))
    for row, (document_id, source, text_bytes) in enumerate(zip(*columns, strict=True)):
        yield TokenizedDocument(document_id, source, text_bytes, ids[offsets[row] : offsets[row + 1]])
