"""Texts from Parquet to token ids: streamed, in parallel, in bounded memory, and the same for any number of threads."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from minimind.tokenizer.bpe import END_OF_TEXT_ID

ROWS_AT_ONCE = 64
PIECE_CHARS = 16_384  # what one thread encodes at a time
BATCH_CHARS = 2_000_000  # what all threads encode at a time; an encoding in memory is some 30 times its text

LAST_LINE_BREAK = re.compile(r"\n(?![^\S\r\n]*[\r\n])")


class TokenizedDocument(NamedTuple):
    document_id: str
    source: str
    text_bytes: int  # UTF-8
    tokens: NDArray[np.uint32]  # [0, t1, …, tn]; 0 is the end-of-text token


def tokenized_documents(tokenizer: Tokenizer, path: Path) -> Iterator[TokenizedDocument]:
    """Every document of a Parquet file of cleaning, in its order."""
    waiting: deque[tuple[str, str, int]] = deque()

    def texts() -> Iterator[str]:
        for document_id, source, text_bytes, text in read_rows(path):
            waiting.append((document_id, source, text_bytes))
            yield text

    for tokens in encode_documents(tokenizer, texts()):
        yield TokenizedDocument(*waiting.popleft(), tokens)


def read_rows(path: Path) -> Iterator[tuple[str, str, int, str]]:
    """(document_id, source, text_bytes, text) of each row of a Parquet file of cleaning, a few in memory at a time."""
    with pq.ParquetFile(path) as parquet:
        for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE, columns=["document_id", "source", "text"]):
            ids, sources, texts = batch.column("document_id"), batch.column("source"), batch.column("text")
            sizes = pc.binary_length(texts)
            yield from zip(*(column.to_pylist() for column in (ids, sources, sizes, texts)), strict=True)


def read_texts(path: Path) -> Iterator[str]:
    return (text for _, _, _, text in read_rows(path))


def encode_documents(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[NDArray[np.uint32]]:
    """[0, t1, …, tn] for each text, in order; 0 is the end-of-text token, which stands before every document."""
    start = np.array([END_OF_TEXT_ID], dtype=np.uint32)
    parts = [start]
    for batch in _batches(_pieces_with_ends(texts)):
        encodings = tokenizer.encode_batch_fast([piece for piece, _ in batch], add_special_tokens=False)
        for (_, is_last), encoding in zip(batch, encodings, strict=True):
            parts.append(np.array(encoding.ids, dtype=np.uint32))
            if is_last:
                yield np.concatenate(parts)
                parts = [start]


def pieces(text: str, max_chars: int = PIECE_CHARS) -> Iterator[str]:
    """`text` in pieces of about `max_chars`, cut where the tokens stay the same as without a cut.

    Such a place is the last line break in a run of white space: no match of the split pattern goes past it, and the
    pattern never looks back. A text without line breaks stays whole.
    """
    start = 0
    while len(text) - start > max_chars and (cut := LAST_LINE_BREAK.search(text, start + max_chars)):
        yield text[start : cut.end()]
        start = cut.end()
    if start < len(text) or not text:
        yield text[start:]


def _pieces_with_ends(texts: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """(piece, whether it is the last of its text)."""
    for text in texts:
        left = len(text)
        for piece in pieces(text):
            left -= len(piece)
            yield piece, left == 0


def _batches(pairs: Iterable[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
    batch: list[tuple[str, bool]] = []
    chars = 0
    for pair in pairs:
        batch.append(pair)
        chars += len(pair[0])
        if chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch
