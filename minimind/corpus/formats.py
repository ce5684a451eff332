"""Documents out of one stream of text, JSON lines or Parquet.

What cannot be read is yielded as Unreadable with its place and reason; no line, row or file is dropped unsaid.
"""

import errno
import gzip
import io
import json
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from minimind.corpus.records import FIELDS, Place, UnfitError, make_document
from minimind.corpus.sources.protocol import Item, Unreadable
from minimind.errors import SourceError

MAX_DOCUMENT_BYTES = 100_000_000  # of one text file or one line; longer ones are unreadable, not held in memory
BUFFER_BYTES = 1 << 20
PARQUET_BATCH_ROWS = 512
DAMAGED = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    tarfile.TarError,
    pa.ArrowException,
    UnicodeError,  # pyarrow: a column name that is no UTF-8
    NotImplementedError,  # zipfile: a compression it does not know
)


def read_stream(stream: BinaryIO, suffix: str, place: Place, max_expanded_bytes: int) -> Iterator[Item]:
    """The documents of a stream in the format that `suffix` names; `.parquet` needs one that seeks."""
    match suffix:
        case ".txt" | ".md":
            items = read_text(stream, place)
        case ".jsonl":
            items = read_json_lines(stream, place)
        case ".jsonl.gz":
            items = read_json_lines(gunzip(stream, place.path, max_expanded_bytes), place)
        case ".parquet":
            items = read_parquet(stream, place)
        case _:
            raise AssertionError(f"{suffix} is not a format")
    yield from unreadable_if_damaged(items, place)


def unreadable_if_damaged(items: Iterator[Item], place: Place) -> Iterator[Item]:
    """The items up to the damage, if there is one, and then the file or member as unreadable."""
    try:
        yield from items
    except DAMAGED as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        yield Unreadable(place.path, None, f"it is damaged or cannot be read: {words_of(error)}", place.unit)


def words_of(error: BaseException) -> str:
    """What an error says, in one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (" ".join(text.split()) or type(error).__name__)[:300]


# --- text -------------------------------------------------------------------------------------------------------------


def read_text(stream: BinaryIO, place: Place) -> Iterator[Item]:
    """One document: the whole stream."""
    content = stream.read(MAX_DOCUMENT_BYTES + 1)
    try:
        if len(content) > MAX_DOCUMENT_BYTES:
            raise UnfitError(f"it has more than {MAX_DOCUMENT_BYTES:,} bytes; split it")
        yield make_document({"id": place.whole, "text": decode(content)}, place)
    except UnfitError as problem:
        yield Unreadable(place.path, None, str(problem), place.unit)


def decode(content: bytes) -> str:
    """UTF-8 as text, without a byte order mark."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnfitError(f"it is not UTF-8: {error.reason} at byte {error.start:,}; save it as UTF-8") from None


# --- JSON lines -------------------------------------------------------------------------------------------------------


def read_json_lines(stream: BinaryIO, place: Place) -> Iterator[Item]:
    """One document a line; blank lines are none."""
    for number, line in numbered_lines(stream):
        try:
            yield make_document(parse_json(line), place)
        except UnfitError as problem:
            yield Unreadable(place.path, number, str(problem), "line")


def numbered_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(number from 1, bytes) of each line that is not blank; of too long a line, one byte more than is allowed."""
    number = 0
    while line := stream.readline(MAX_DOCUMENT_BYTES + 1):
        number += 1
        rest = line
        while len(rest) > MAX_DOCUMENT_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_DOCUMENT_BYTES + 1)
        if not line.isspace():
            yield number, line


def parse_json(line: bytes) -> Any:
    if len(line) > MAX_DOCUMENT_BYTES:
        raise UnfitError(f"it has more than {MAX_DOCUMENT_BYTES:,} bytes; split the document")
    try:
        return json.loads(decode(line))
    except json.JSONDecodeError as error:
        raise UnfitError(f"it is no valid JSON: {error.msg} at character {error.pos + 1:,}") from None
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"it is no valid JSON: {words_of(error)}") from None


# --- Parquet ----------------------------------------------------------------------------------------------------------


def read_parquet(stream: BinaryIO, place: Place) -> Iterator[Item]:
    """One document a row, from the columns named as in JSON lines."""
    with pq.ParquetFile(stream) as table:
        names = table.schema_arrow.names
        missing = [name for name in ("id", "text") if name not in names]
        if missing:
            problem = f"it has no column {' and none '.join(missing)}; its columns are {', '.join(names)}"
            yield Unreadable(place.path, None, problem, place.unit)
            return
        columns = [name for name in FIELDS if name in names]
        number = 0
        for batch in table.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=columns):
            for row in rows_of(batch):
                number += 1
                try:
                    if isinstance(row, UnfitError):
                        raise row
                    yield make_document(row, place)
                except UnfitError as problem:
                    yield Unreadable(place.path, number, str(problem), "line")


def rows_of(batch: Any) -> list[dict[str, Any] | UnfitError]:
    """Each row, or what is wrong with it: Parquet does not check that a string is UTF-8."""
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        return [row_of(batch.slice(position, 1)) for position in range(len(batch))]


def row_of(batch: Any) -> dict[str, Any] | UnfitError:
    try:
        row: dict[str, Any] = batch.to_pylist()[0]
    except UnicodeDecodeError as error:
        return UnfitError(f"a string in it is not UTF-8: {error.reason} at byte {error.start:,}")
    return row


# --- gzip -------------------------------------------------------------------------------------------------------------


def gunzip(stream: BinaryIO, path: str, max_expanded_bytes: int) -> BinaryIO:
    """The expanded stream; reading beyond the limit raises SourceError."""
    expanded = LimitedStream(gzip.GzipFile(fileobj=stream, mode="rb"), path, max_expanded_bytes)
    return io.BufferedReader(expanded, BUFFER_BYTES)


class LimitedStream(io.RawIOBase):
    """Passes on a stream until it has given more bytes than it may."""

    def __init__(self, stream: Any, path: str, max_bytes: int) -> None:
        self._stream = stream
        self._path = path
        self._max_bytes = max_bytes
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._stream.readinto(buffer)
        self._given += count
        if self._given > self._max_bytes:
            raise too_large(self._path, self._max_bytes)
        return count


def too_large(path: str, max_bytes: int) -> SourceError:
    return SourceError(
        f"{path} expands to more than {max_bytes:,} bytes, which corpus.max_expanded_bytes permits; "
        "raise it if you trust this file"
    )
