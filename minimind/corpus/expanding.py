"""Expanding gzip and Zstandard as a stream, never beyond a budget of bytes."""

import gzip
import io
from typing import Any, BinaryIO

import pyarrow as pa

BUFFER_BYTES = 1 << 20
PIECE_BYTES = 1 << 16  # that are expanded at once: what is lost before damage, at most


class TooLargeError(Exception):
    """A file expands to more than it may; carries the reason in words."""


class Budget:
    """How many expanded bytes one file may still give, with all that is packed inside it."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.left = max_bytes

    def spend(self, count: int) -> None:
        """Raises TooLargeError if that is more than is left."""
        self.left -= count
        if self.left < 0:
            raise TooLargeError(
                f"it expands to more than {self.max_bytes:,} bytes, which corpus.max_expanded_bytes permits; "
                "raise it if you trust this file"
            )


def expand(stream: BinaryIO, compression: str, budget: Budget) -> BinaryIO:
    """The expanded stream of a `.gz` or `.zst`; reading it spends the budget."""
    expanded: Any = (
        gzip.GzipFile(fileobj=stream, mode="rb")
        if compression == ".gz"
        else pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")  # python-zstandard ends a cut one unsaid
    )
    return io.BufferedReader(SpendingStream(expanded, budget), BUFFER_BYTES)


class SpendingStream(io.RawIOBase):
    """Passes on a stream and spends the budget by what it gives."""

    def __init__(self, stream: Any, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read1(min(len(buffer), PIECE_BYTES))
        buffer[: len(piece)] = piece
        self._budget.spend(len(piece))
        return len(piece)
