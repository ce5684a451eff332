"""Lines of a stream, each of bounded length."""

from collections.abc import Iterator
from typing import BinaryIO

from minimind.corpus import records
from minimind.corpus.records import UnfitError

DROPPED_BYTES = 1 << 20


def numbered_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(number from 1, bytes with the line's end) of each line; of too long a line, one byte more than is allowed."""
    number = 0
    while line := stream.readline(records.MAX_DOCUMENT_BYTES + 1):
        number += 1
        if len(line) > records.MAX_DOCUMENT_BYTES:
            rest = line[-1:]
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(DROPPED_BYTES)
        yield number, line


def check_length(content: bytes) -> bytes:
    """The content; raises UnfitError if it is too long."""
    if len(content) > records.MAX_DOCUMENT_BYTES:
        raise UnfitError(f"it has more than {records.MAX_DOCUMENT_BYTES:,} bytes; split it")
    return content
