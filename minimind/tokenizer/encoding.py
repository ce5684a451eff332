"""Texts from Parquet to token ids: streamed, in parallel, in bounded memory, and the same for any number of threads."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from minimind.parts import cores
from minimind.tokenizer.bpe import END_OF_TEXT_ID

ROWS_AT_ONCE = 64
PIECE_CHARS = 65_536  # no text is handed to an encoder at a greater length, unless it cannot be cut
GROUPS_AT_ONCE = 48  # of about PIECE_CHARS, waiting or encoded; more do not make it faster
SAMPLE_TEXTS, SAMPLE_PLACES, SAMPLE_ROWS, SAMPLE_CHARS = 128, 16, 8, 8_192

# Where a cut leaves the tokens as they are. No match of the split pattern goes past the last line break in a run of
# white space, nor from a letter or digit to a blank; and the pattern never looks back.
CUT = re.compile(r"\n(?![^\S\r\n]*[\r\n])|(?<=\w)(?= )")

Ids = NDArray[np.uint32]
Encode = Callable[[list[str]], list[Ids]]  # pieces of text -> the ids of each; called from several threads


class TokenizedDocument(NamedTuple):
    document_id: str
    source: str
    text_bytes: int  # UTF-8
    tokens: Ids  # [0, t1, …, tn]; 0 is the end-of-text token
    occurrences: int = 1  # in an epoch


def tokenized_documents(
    encode: Encode, path: Path, row_groups: Sequence[int] | None = None, threads: int | None = None
) -> Iterator[TokenizedDocument]:
    """Every document of a Parquet file of cleaning, or of some of its row groups, in its order."""
    waiting: deque[tuple[str, str, int]] = deque()

    def texts() -> Iterator[str]:
        for document_id, source, text_bytes, text in read_rows(path, row_groups):
            waiting.append((document_id, source, text_bytes))
            yield text

    for tokens in encode_documents(encode, texts(), threads):
        yield TokenizedDocument(*waiting.popleft(), tokens)


def read_rows(path: Path, row_groups: Sequence[int] | None = None) -> Iterator[tuple[str, str, int, str]]:
    """(document_id, source, text_bytes, text) of each row of a Parquet file of cleaning, a few in memory at a time."""
    with pq.ParquetFile(path) as parquet:
        columns = ["document_id", "source", "text"]
        for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=row_groups, columns=columns):
            ids, sources, texts = batch.column("document_id"), batch.column("source"), batch.column("text")
            sizes = pc.binary_length(texts)
            yield from zip(*(column.to_pylist() for column in (ids, sources, sizes, texts)), strict=True)


def read_texts(path: Path) -> Iterator[str]:
    return (text for _, _, _, text in read_rows(path))


def sampled_texts(path: Path) -> Iterator[str]:
    """The beginnings of a few texts from places all over a Parquet file of cleaning, always the same ones."""
    with pq.ParquetFile(path) as parquet:
        groups = parquet.num_row_groups
        for group in sorted({place * groups // SAMPLE_PLACES for place in range(min(SAMPLE_PLACES, groups))}):
            batches = parquet.iter_batches(batch_size=SAMPLE_ROWS, row_groups=[group], columns=["text"])
            texts = (text for batch in batches for text in batch.column("text").to_pylist())
            yield from (text[:SAMPLE_CHARS] for text in islice(texts, SAMPLE_TEXTS // min(SAMPLE_PLACES, groups)))


def encode_documents(encode: Encode, texts: Iterable[str], threads: int | None = None) -> Iterator[Ids]:
    """[0, t1, …, tn] for each text, in order; 0 is the end-of-text token, which stands before every document."""
    start = np.array([END_OF_TEXT_ID], dtype=np.uint32)
    parts = [start]
    with ThreadPoolExecutor(threads or cores()) as pool:
        for is_last, ids in _encoded(pool, encode, texts):
            parts.append(ids)
            if is_last:
                yield np.concatenate(parts)
                parts = [start]


def _encoded(pool: ThreadPoolExecutor, encode: Encode, texts: Iterable[str]) -> Iterator[tuple[bool, Ids]]:
    """(whether it is the last of its text, its ids) for each piece of the texts, in order."""
    waiting: deque[tuple[list[bool], Future[list[Ids]]]] = deque()
    for group in _groups(_pieces_with_ends(texts)):
        waiting.append(([is_last for _, is_last in group], pool.submit(encode, [piece for piece, _ in group])))
        if len(waiting) == GROUPS_AT_ONCE:
            ends, future = waiting.popleft()
            yield from zip(ends, future.result(), strict=True)
    for ends, future in waiting:
        yield from zip(ends, future.result(), strict=True)


def pieces(text: str, max_chars: int = PIECE_CHARS) -> Iterator[str]:
    """`text` in pieces of about `max_chars`, cut where the tokens stay the same as without a cut.

    A text without line breaks and without blanks stays whole.
    """
    start = 0
    while len(text) - start > max_chars and (cut := CUT.search(text, start + max_chars)):
        yield text[start : cut.end()]
        start = cut.end()
    if start < len(text) or not text:
        yield text[start:]


def with_tokenizers(tokenizer: Tokenizer) -> Encode:
    """The reference: slower, and right by definition."""

    def encode(texts: list[str]) -> list[Ids]:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.uint32) for encoding in encodings]

    return encode


def _pieces_with_ends(texts: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """(piece, whether it is the last of its text)."""
    for text in texts:
        left = len(text)
        for piece in pieces(text):
            left -= len(piece)
            yield piece, left == 0


def _groups(pairs: Iterable[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
    """Runs of about PIECE_CHARS: thousands of short texts would cost more to hand over than to encode."""
    group: list[tuple[str, bool]] = []
    chars = 0
    for pair in pairs:
        group.append(pair)
        chars += len(pair[0])
        if chars >= PIECE_CHARS:
            yield group
            group, chars = [], 0
    if group:
        yield group
