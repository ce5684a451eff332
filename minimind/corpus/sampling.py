"""A random sample that comes out the same whenever and in whatever order it is drawn: the rows of smallest rank.

A row's rank is a hash of the seed and its name, so every row is as likely to be in the sample as any other.
"""

import hashlib
import heapq
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any


def rank_of(seed: int, name: str) -> int:
    """128 bits that the seed and the name decide."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16])


class SmallestRanks:
    """Takes rows one by one and gives back the longest run of smallest ranks that keeps within the limits.

    In memory there is one entry for each row of the sample; the rows wait in `spool`.
    """

    def __init__(self, max_rows: int | None, max_bytes: int | None, spool: IO[bytes]) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._spool = spool
        self._kept: list[tuple[int, int, int]] = []  # a heap of (-rank, offset in the spool, bytes)
        self._bytes = 0
        self._below: int | None = None  # rows of this rank or above are out for good

    def add(self, rank: int, size: int, row: Any) -> None:
        """`size` counts towards max_bytes; the row is kept as JSON."""
        if self._below is not None and rank >= self._below:
            return
        heapq.heappush(self._kept, (-rank, self._spool.tell(), size))
        self._spool.write(json.dumps(row).encode() + b"\n")
        self._bytes += size
        while self._is_over():
            largest, _, dropped = heapq.heappop(self._kept)
            self._below = -largest
            self._bytes -= dropped

    def _is_over(self) -> bool:
        rows, size = len(self._kept), self._bytes
        return (self._max_rows is not None and rows > self._max_rows) or (
            self._max_bytes is not None and size > self._max_bytes
        )

    def rows(self) -> Iterator[Any]:
        """The sample, in the order in which its rows came."""
        for _, offset, _ in sorted(self._kept, key=lambda entry: entry[1]):
            self._spool.seek(offset)
            yield json.loads(self._spool.readline())


def choose(units: Sequence[tuple[str, float]], seed: int, enough: float, at_least: int = 1) -> list[int]:
    """Positions, ascending, of the (name, size) of smallest rank: `at_least` so many, and as many as have `enough`."""
    ranked = sorted(range(len(units)), key=lambda position: rank_of(seed, units[position][0]))
    chosen: list[int] = []
    size = 0.0
    for position in ranked:
        if size >= enough and len(chosen) >= at_least:
            break
        chosen.append(position)
        size += units[position][1]
    return sorted(chosen)
