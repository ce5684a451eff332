"""Damaged files: what the libraries raise for them, and how it is said."""

import errno
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

import pyarrow as pa

from minimind.corpus.document import Document, DocumentBatch
from minimind.corpus.expanding import TooLargeError
from minimind.corpus.records import NOTHING, Place
from minimind.corpus.sources.protocol import Item, Skipped, Unreadable

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


def unreadable_if_damaged(items: Iterator[Item], place: Place) -> Iterator[Item]:
    """The items up to the damage, if there is one, and then the file or member as unreadable.

    A file or member that gives no item at all is Skipped, so that every one of them is counted somewhere. Of an
    archive that expands beyond its budget, members raise TooLargeError; the archive as a whole is unreadable.
    """
    given, documents = 0, 0
    try:
        for item in items:
            given += 1
            documents += len(item) if isinstance(item, DocumentBatch) else isinstance(item, Document)
            yield item
        if not given:
            yield Skipped(place.path, NOTHING)
    except TooLargeError as error:
        if place.unit == "member":
            raise
        yield Unreadable(place.path, None, f"{error}{what_stays(documents)}", place.unit)
    except DAMAGED as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        problem = f"it is damaged or cannot be read: {words_of(error)}{what_stays(documents)}"
        yield Unreadable(place.path, None, problem, place.unit)


def what_stays(documents: int) -> str:
    return f" (the {documents:,} documents before that stay)" if documents else ""


def words_of(error: BaseException) -> str:
    """What an error says, in one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (" ".join(text.split()) or type(error).__name__)[:300]
