"""The exact similarity of pairs: what the whole shingle sets of two documents share, by merging them."""

import mmap
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minimind.cleaning.database import BATCH_ROWS, used_by
from minimind.cleaning.kernels import shared_counts

Array = npt.NDArray[Any]

UNKNOWN_PAIRS = "select i, j from chosen_pairs anti join known_similarities using (i, j) order by i, j"
SHARED = "create or replace table shared_shingles as select * from shared order by i, j"
VALUES_AT_ONCE = 16_000_000  # hashes of the sets that a few pairs are compared by, 128 MB for each thread


def count_shared_shingles(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Any], path: Path
) -> None:
    """Makes the table `shared_shingles` of the chosen pairs that were never compared: i, j, shared, total.

    `query` gives the documents' sets. They wait in a file at `path`, which is read where a pair needs it, so that
    memory does not grow with the corpus.
    """
    pairs = connection.execute(UNKNOWN_PAIRS).fetchnumpy()
    numbers, starts, ends = write_sets(connection, query, parameters, path)
    first, second = places_of(pairs["i"], numbers), places_of(pairs["j"], numbers)
    sizes = ends - starts
    with ThreadPoolExecutor(thread_count(connection)) as threads:
        slices = cut(sizes[first] + sizes[second])
        counted = threads.map(lambda part: shared_of(path, starts, ends, first[part], second[part]), slices)
        shared = np.concatenate([np.empty(0, np.int64), *counted])
    path.unlink()
    found = pa.table({"i": pairs["i"], "j": pairs["j"], "shared": shared, "total": sizes[first] + sizes[second]})
    connection.register("shared", found)
    connection.execute(SHARED)
    connection.unregister("shared")


def places_of(wanted: Array, numbers: Array) -> Array:
    """Where in `numbers` each of the wanted ones stands."""
    order = np.argsort(numbers)
    places: Array = order[np.searchsorted(numbers, wanted, sorter=order)] if len(wanted) else np.empty(0, np.int64)
    assert np.array_equal(numbers[places], wanted)
    return places


def write_sets(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Any], path: Path
) -> tuple[Array, Array, Array]:
    """Writes the sets one after another; the documents' numbers, and where in the file each begins and ends."""
    numbers, sizes = [np.empty(0, np.uint32)], [np.empty(0, np.int64)]
    with path.open("wb") as file:
        for batch in connection.execute(query, used_by(query, parameters)).to_arrow_reader(BATCH_ROWS):
            sets = batch["shingles"]
            file.write(sets.flatten().to_numpy().tobytes())
            numbers.append(batch["number"].to_numpy().copy())  # a view would hold the batch, with its sets
            sizes.append(np.diff(sets.offsets.to_numpy()).astype(np.int64))
    ends = np.cumsum(np.concatenate(sizes))
    return np.concatenate(numbers), ends - np.concatenate(sizes), ends


def shared_of(path: Path, starts: Array, ends: Array, first: Array, second: Array) -> Array:
    """The counts of some pairs. The file is mapped for them alone: what they have touched leaves memory with them."""
    if not ends.max(initial=0):
        return np.zeros(len(first), np.int64)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        values = np.frombuffer(mapped, np.uint64)
        shared: Array = shared_counts(values, starts, ends, first, second)
        del values
    return shared


def cut(sizes: Array) -> Iterator[slice]:
    """Slices of so many pairs that their sets together have about VALUES_AT_ONCE hashes."""
    if not len(sizes):
        return
    parts = np.cumsum(sizes) // VALUES_AT_ONCE
    begins = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(sizes)]
    for begin, end in pairwise(begins):
        yield slice(begin, end)


def thread_count(connection: duckdb.DuckDBPyConnection) -> int:
    [threads] = connection.execute("select current_setting('threads')").fetchone() or [1]
    return int(threads)
