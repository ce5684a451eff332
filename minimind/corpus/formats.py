"""Documents out of one stream of text, JSON lines or Parquet.

What cannot be read is yielded as Unreadable with its place and reason; no line, row or file is dropped unsaid.
"""

import errno
import gzip
import io
import json
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from minimind.corpus.document import Document
from minimind.corpus.sources.protocol import Item, Unit, Unreadable
from minimind.errors import SourceError

MAX_DOCUMENT_BYTES = 100_000_000  # of one text file or one line; longer ones are unreadable, not held in memory
BUFFER_BYTES = 1 << 20
PARQUET_BATCH_ROWS = 512
FIELDS = ("id", "text", "title", "source", "license", "date")
DATE = re.compile(r"\d{4}(-\d{2})?")
TYPES = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}
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


@dataclass(frozen=True)
class Place:
    """Where a stream comes from, and what its documents take over from that."""

    source: str
    path: str  # as messages name it
    whole: str  # the id of a document that is the whole stream
    unit: Unit  # "file" or "member"
    license: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class UnfitError(Exception):
    """A record that makes no document; carries the reason in words."""


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


# --- records ----------------------------------------------------------------------------------------------------------


def make_document(record: Any, place: Place) -> Document:
    """The document of a record with the keys of FIELDS; others are left aside. Raises UnfitError."""
    if not isinstance(record, Mapping):
        raise UnfitError(f"it is {kind_of(record)}; an object with id and text was expected")
    identifier, text = record.get("id"), record.get("text")
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    fields: dict[str, Any] = {"id": identifier, "text": text}
    for name in fields:
        if record.get(name) is None:
            raise UnfitError(f"{name} is missing")
    fields |= {name: record.get(name) for name in ("title", "source", "license")}
    fields["date"] = date_of(record.get("date"))
    for name, value in fields.items():
        check_string(name, value)
    metadata = dict(place.metadata)
    metadata |= {key: fields[name] for key, name in (("origin", "source"), ("date", "date")) if fields[name]}
    return Document(
        document_id=f"{place.source}/{identifier}",
        text=fields["text"],
        source=place.source,
        title=fields["title"] or None,
        license=fields["license"] or place.license,
        metadata=metadata,
    )


def check_string(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise UnfitError(f"{name} is {kind_of(value)}; a string was expected")
    if name in ("id", "text") and not value.strip():
        raise UnfitError(f"{name} is empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UnfitError(f"{name} holds half of a surrogate pair at character {error.start + 1:,}") from None


def date_of(value: Any) -> Any:
    """The date as ISO text; anything that is no string, date or None is handed back for check_string to refuse."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, str) and value and not DATE.fullmatch(value):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise UnfitError(f"date is {value[:40]!r}; write it as 2026-05-31, 2026-05 or 2026") from None
    return value


def kind_of(value: Any) -> str:
    return "null" if value is None else TYPES.get(type(value), f"of the type {type(value).__name__}")


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
