"""What general compressors need for the same documents: the bits per byte that a model has to beat to be worth it."""

import lzma
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zstandard
from numpy.typing import NDArray

from minimind.evaluation.holdout import first_by_hash
from minimind.tokenizer.encoding import read_rows

XZ_PRESET = 9
ZSTD_LEVEL = 19
DICTIONARY_BYTES = 112_640  # 110 KiB, what `zstd --train` makes by default
DICTIONARY_SAMPLE_BYTES = 100 * DICTIONARY_BYTES  # the amount that zstd's manual advises
SEGMENT_BYTES, GRAM_BYTES = 200, 8  # COVER's k and d; as good on legal and technical text as a search for the best
MAX_THREADS = 8  # an xz encoder takes up to 200 MB for a long document


class Dictionary(NamedTuple):
    data: zstandard.ZstdCompressionDict
    kind: str  # in words, for the report
    sample_documents: int
    sample_bytes: int


def xz_bytes(texts: Sequence[bytes]) -> NDArray[np.int64]:
    """Size of each text alone under `xz -9`, its container of some 60 bytes included."""
    return _sizes(texts, lambda: _xz)


def zstd_bytes(texts: Sequence[bytes], dictionary: Dictionary) -> NDArray[np.int64]:
    """Size of each text alone under `zstd -19 -D dictionary`, without checksum and dictionary id."""

    def compressor() -> Callable[[bytes], bytes]:
        return zstandard.ZstdCompressor(
            level=ZSTD_LEVEL, dict_data=dictionary.data, write_checksum=False, write_dict_id=False
        ).compress

    return _sizes(texts, compressor)


def training_sample(train: Path) -> list[str]:
    """About 11 MB of training documents, the same ones every time."""
    sizes = {document_id: size for document_id, _, size, _ in read_rows(train)}
    chosen = set(first_by_hash(sizes, DICTIONARY_SAMPLE_BYTES))
    return [text for document_id, _, _, text in read_rows(train) if document_id in chosen]


def make_dictionary(train: Path) -> Dictionary:
    """A zstd dictionary of 110 KiB, trained on about 11 MB of training documents, the same ones every time.

    Where there is too little text to train one, the text itself is the dictionary, as much of it as 110 KiB hold.
    """
    samples = [text.encode() for text in training_sample(train)]
    sizes = len(samples), sum(map(len, samples))
    if trained := _train(samples):
        return Dictionary(trained, f"{len(trained):,} bytes, trained on training documents", *sizes)
    text = b"".join(samples)[-DICTIONARY_BYTES:]
    raw = zstandard.ZstdCompressionDict(text, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return Dictionary(raw, f"{len(text):,} bytes of training text as it is, too little to train one", *sizes)


def _train(samples: list[bytes]) -> zstandard.ZstdCompressionDict | None:
    """None where zstd finds the samples too few, or where they all fit into the dictionary anyway."""
    if sum(map(len, samples)) <= DICTIONARY_BYTES:
        return None
    try:
        return zstandard.train_dictionary(
            DICTIONARY_BYTES, [*samples], k=SEGMENT_BYTES, d=GRAM_BYTES, level=ZSTD_LEVEL, dict_id=1
        )
    except zstandard.ZstdError:
        return None


def _xz(text: bytes) -> bytes:
    """What `xz -9` writes, but for a dictionary no larger than the text: the same size, and no 64 MB to clear."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": XZ_PRESET, "dict_size": min(max(len(text), 4096), 2**26)}]
    return lzma.compress(text, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=filters)


def _sizes(texts: Sequence[bytes], make_compressor: Callable[[], Callable[[bytes], bytes]]) -> NDArray[np.int64]:
    """Compressed sizes; both libraries let other threads run, and zstd wants a compressor a thread."""
    own = threading.local()

    def size(text: bytes) -> int:
        if not hasattr(own, "compress"):
            own.compress = make_compressor()
        return len(own.compress(text))

    with ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_THREADS)) as threads:
        return np.array(list(threads.map(size, texts)), dtype=np.int64)
