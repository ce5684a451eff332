"""Token shards as numpy arrays over mapped files: opening costs no memory, whatever the corpus's size.

Needs numpy and pyarrow only, so that training runs where nothing else is installed.
"""

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class ShardReader:
    """The documents of one split, in document_id order, over all its shard files.

    Arrays are read-only views of the mapped files unless said otherwise, and stay valid without the reader. Tokens
    are uint16 or uint32; every document begins with 0, the end-of-text token.
    """

    def __init__(self, folder: Path, split: Literal["train", "holdout"]) -> None:
        """Raises FileNotFoundError if the folder holds no shard of the split."""
        self.folder = folder
        paths = sorted(folder.glob(f"{split}-*.arrow"))
        if not paths:
            raise FileNotFoundError(f"{folder} holds no {split}-*.arrow; it is no folder of shards")
        self._batches = [_map_record_batch(path) for path in paths]
        self._lists = [batch.column("tokens") for batch in self._batches]
        rows: Iterator[int] = (batch.num_rows for batch in self._batches)
        self._first_documents = list(accumulate(rows, initial=0))

    @property
    def files(self) -> int:
        return len(self._batches)

    @property
    def documents(self) -> int:
        return self._first_documents[-1]

    @property
    def tokens(self) -> int:
        """In an epoch: of all documents, as often as each occurs, their leading end-of-text tokens included."""
        return int(self.lengths @ self.occurrences)

    def flat(self, file: int) -> NDArray[Any]:
        """All tokens of one shard file, document after document."""
        return _numpy(self._lists[file].values)

    def offsets(self, file: int) -> NDArray[np.int64]:
        """Where the documents of one shard file begin in `flat(file)`; one more entry than documents."""
        return _numpy(self._lists[file].offsets)

    def document(self, number: int) -> NDArray[Any]:
        """The tokens of the document with this number, from 0, over all files."""
        if not 0 <= number < self.documents:
            raise IndexError(f"document {number} of {self.documents}")
        file = bisect_right(self._first_documents, number) - 1
        row = number - self._first_documents[file]
        start, end = self.offsets(file)[row : row + 2]
        return self.flat(file)[start:end]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document."""
        return np.concatenate([np.diff(self.offsets(file)) for file in range(self.files)])

    @cached_property
    def occurrences(self) -> NDArray[np.int64]:
        """How often an epoch has each document, 1 or more."""
        return np.concatenate([_numpy(batch.column("occurrences")) for batch in self._batches]).astype(np.int64)

    @cached_property
    def text_bytes(self) -> NDArray[np.int64]:
        """UTF-8 bytes of each document's text; a copy where there are several files."""
        parts = [_numpy(batch.column("text_bytes")) for batch in self._batches]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @cached_property
    def document_ids(self) -> list[str]:
        return [text for batch in self._batches for text in batch.column("document_id").to_pylist()]

    @cached_property
    def sources(self) -> list[str]:
        """The source of each document."""
        return [text for batch in self._batches for text in batch.column("source").to_pylist()]


def token_bytes(folder: Path) -> NDArray[np.int32]:
    """Bytes of text by token id, 0 for special tokens."""
    return _numpy(_map_record_batch(folder / "token_bytes.arrow").column("token_bytes"))


def vocabulary_size(folder: Path) -> int:
    return len(token_bytes(folder))


def _map_record_batch(path: Path) -> pa.RecordBatch:
    """The only record batch of an Arrow file, its buffers lying in the mapped file."""
    with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as file:
        assert file.num_record_batches == 1, f"{path} has {file.num_record_batches} record batches"
        return file.get_batch(0)


def _numpy(array: pa.Array) -> NDArray[Any]:
    view: NDArray[Any] = array.to_numpy(zero_copy_only=True)
    return view
