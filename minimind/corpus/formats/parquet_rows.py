"""Parquet: one document a row, from the columns named as in JSON lines."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from minimind.corpus.records import FIELDS, Place, UnfitError, check_columns, make_document
from minimind.corpus.sources.protocol import Item, Unreadable

BATCH_ROWS = 512
BATCH_BYTES = 64 << 20  # by the average row; long rows come in smaller batches


def read_parquet(stream: BinaryIO, place: Place) -> Iterator[Item]:
    """One document a row; raises UnfitError if a column is missing."""
    with pq.ParquetFile(stream) as table:
        names = table.schema_arrow.names
        check_columns(names)
        columns = [name for name in FIELDS if name in names]
        number = 0
        for batch in table.iter_batches(batch_size=batch_rows(table), columns=columns):
            for row in rows_of(batch):
                number += 1
                try:
                    if isinstance(row, UnfitError):
                        raise row
                    yield make_document(row, place)
                except UnfitError as problem:
                    yield Unreadable(place.path, number, str(problem), "line")


def batch_rows(table: pq.ParquetFile) -> int:
    """How many rows to hold at a time."""
    groups = [table.metadata.row_group(number) for number in range(table.metadata.num_row_groups)]
    longest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=1)
    return int(min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, longest))))


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
