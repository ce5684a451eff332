"""The document, its Arrow schema, and the writer that sorts any number of them into Parquet parts."""

from array import array
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from minimind.parts import one_ahead

SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.string()),
        pa.field("text", pa.string()),
        pa.field("source", pa.string()),
        pa.field("title", pa.string()),
        pa.field("license", pa.string()),
        pa.field("metadata", pa.map_(pa.string(), pa.string())),
    ]
)
SPILL_BYTES = 32 << 20  # of text in one unsorted batch
SPILL_DOCUMENTS = 16_384
ROW_GROUP_DOCUMENTS = 2_048
ROW_GROUP_BYTES = 4 << 20  # of text; row groups are what later stages read in parallel
PART_BYTES = 256 << 20  # of text
RUN_BYTES = 1 << 30  # of text: what is in memory while parts are gathered from all over it


@dataclass(frozen=True, slots=True)
class Document:
    """One text with where it comes from. `document_id` is `<source name>/<id in the source>`."""

    document_id: str
    text: str
    source: str
    title: str | None = None
    license: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)  # provenance: path, origin, date (ISO), ...


@dataclass(frozen=True, slots=True)
class DocumentBatch:
    """Documents of one source as a record batch of SCHEMA, metadata keys sorted."""

    rows: Any

    def __len__(self) -> int:
        return len(self.rows)

    def documents(self) -> Iterator[Document]:
        for row in self.rows.to_pylist():
            yield Document(**row | {"metadata": dict(row["metadata"])})


class DocumentWriter:
    """Takes documents in any order and writes `documents-00000.parquet`, ... sorted by document_id over all parts.

    The bytes depend on the set of documents alone. In memory there are at most one spill batch, one row group and
    the ids, and the texts of one run. The texts wait in `scratch`, which needs as much space as they have bytes,
    twice that where they are more than one run. Ids must be unique.
    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        self._folder = folder
        self._spill_path = scratch / "spill.arrow"
        self._spill = pa.ipc.new_file(str(self._spill_path), SCHEMA)
        self._rows: list[Document] = []
        self._row_bytes = 0
        self._text_bytes = array("q")

    def add(self, document: Document, text_bytes: int) -> None:
        self._rows.append(document)
        self._row_bytes += text_bytes
        self._text_bytes.append(text_bytes)
        if self._row_bytes >= SPILL_BYTES or len(self._rows) >= SPILL_DOCUMENTS:
            self._flush()

    def add_batch(self, batch: DocumentBatch, text_bytes: np.ndarray) -> None:
        self._flush()
        self._spill.write_batch(batch.rows)
        self._text_bytes.extend(text_bytes.tolist())

    def finish(self) -> Iterator[int]:
        """Writes the parts, and yields after each row group how many documents are written.

        An empty corpus has one part without rows.
        """
        self._flush()
        self._spill.close()
        text_bytes = np.frombuffer(self._text_bytes, dtype=np.int64)
        order = sorted_order(self._spill_path)
        sorted_bytes = text_bytes[order]
        runs = cut_runs(cut_parts(sorted_bytes), sorted_bytes)
        numbers = count()
        for run, (spill, places) in zip(runs, dealt_out(self._spill_path, order, runs), strict=True):
            batches = list(read_batches(spill))
            spill.unlink()
            for groups in run:
                path = self._folder / f"documents-{next(numbers):05}.parquet"
                yield from write_part(path, groups, places, batches)
            batches.clear()  # before those of the next run are read

    def _flush(self) -> None:
        if self._rows:
            self._spill.write_batch(to_batch(self._rows))
        self._rows, self._row_bytes = [], 0


def to_batch(documents: list[Document]) -> Any:
    """The documents as a record batch of SCHEMA, in the given order; metadata keys are sorted."""
    columns = [
        [document.document_id for document in documents],
        [document.text for document in documents],
        [document.source for document in documents],
        [document.title for document in documents],
        [document.license for document in documents],
        [sorted(document.metadata.items()) for document in documents],
    ]
    arrays = [pa.array(values, column.type) for values, column in zip(columns, SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=SCHEMA)


def read_batches(path: Path, columns: list[str] | None = None) -> Iterator[Any]:
    """The batches of a spilled file, one after another, with all columns or some.

    They are read, not mapped: where memory is limited, the kernel drops mapped pages shortly before they are wanted.
    """
    fields = [SCHEMA.get_field_index(name) for name in columns or SCHEMA.names]
    with pa.OSFile(str(path)) as file:
        spilled = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
        for number in range(spilled.num_record_batches):
            yield spilled.get_batch(number)


def write_part(path: Path, groups: list[tuple[int, int]], order: np.ndarray, batches: list[Any]) -> Iterator[int]:
    with (
        parquet_writer(path) as writer,
        ThreadPoolExecutor(1, "gather") as thread,  # the next rows are gathered while these are compressed
    ):
        gathered = (thread.submit(gather, batches, order[start:stop]) for start, stop in groups)
        for (_, stop), rows in zip(groups, one_ahead(gathered), strict=True):
            writer.write_table(rows, row_group_size=max(1, len(rows)))
            yield stop


def parquet_writer(path: Path) -> Any:
    return pq.ParquetWriter(
        path,
        SCHEMA,
        compression="zstd",
        use_dictionary=["source", "license"],
        write_statistics=["document_id", "source"],  # a text's minimum and maximum would be whole texts
    )


def sorted_order(spill: Path) -> np.ndarray:
    """int64 positions over all batches of the file, by document_id in UTF-8 byte order."""
    copied = [  # what is read with them would else stay in memory, four tenths of the file
        pa.array(batch["document_id"].to_pylist(), pa.string()) for batch in read_batches(spill, ["document_id"])
    ]
    ids = pa.chunked_array(copied, pa.string())
    return np.asarray(pc.sort_indices(ids), dtype=np.int64)


def cut_parts(sorted_bytes: np.ndarray) -> Iterator[list[tuple[int, int]]]:
    """For each part its row groups as (start, stop) in sorted order; without documents, one that is empty."""
    groups: list[tuple[int, int]] = []
    start, group_bytes, part_bytes = 0, 0, 0
    for position, size in enumerate(sorted_bytes.tolist()):
        full = position - start >= ROW_GROUP_DOCUMENTS or group_bytes + size > ROW_GROUP_BYTES
        if full and position > start:
            groups.append((start, position))
            part_bytes += group_bytes
            start, group_bytes = position, 0
            if part_bytes >= PART_BYTES:
                yield groups
                groups, part_bytes = [], 0
        group_bytes += size
    yield [*groups, (start, len(sorted_bytes))]


def cut_runs(parts: Iterator[list[tuple[int, int]]], sorted_bytes: np.ndarray) -> list[list[list[tuple[int, int]]]]:
    """The parts, one after another, in runs of RUN_BYTES at most or of one part."""
    runs: list[list[list[tuple[int, int]]]] = []
    run_bytes = 0
    for groups in parts:
        size = int(sorted_bytes[groups[0][0] : groups[-1][1]].sum())
        if not runs or run_bytes + size > RUN_BYTES:
            runs.append([])
            run_bytes = 0
        runs[-1].append(groups)
        run_bytes += size
    return runs


def dealt_out(spill: Path, order: np.ndarray, runs: list[list[list[tuple[int, int]]]]) -> list[tuple[Path, np.ndarray]]:
    """For each run the spilled file that has its rows, and where these lie in it, at their places in sorted order.

    Rows are dealt out in one pass over the file, which is removed, as each run would else read all of it. A single run
    has the file as it is.
    """
    if len(runs) == 1:
        return [(spill, order)]
    owners, places = np.empty(len(order), np.int32), np.empty(len(order), np.int64)
    for number, run in enumerate(runs):
        start, stop = run[0][0][0], run[-1][-1][1]
        owners[order[start:stop]] = number
        places[start:stop] = np.argsort(np.argsort(order[start:stop]))  # rows keep the order of the file
    paths = [spill.with_name(f"run-{number}.arrow") for number in range(len(runs))]
    with ExitStack() as files:
        writers = [files.enter_context(pa.ipc.new_file(str(path), SCHEMA)) for path in paths]
        done = 0
        for batch in read_batches(spill):
            mine = owners[done : done + len(batch)]
            for number in np.unique(mine).tolist():
                writers[number].write_batch(batch.filter(pa.array(mine == number)))
            done += len(batch)
    spill.unlink()
    return [(path, places) for path in paths]


def gather(batches: list[Any], positions: np.ndarray) -> Any:
    """The rows at `positions` as a table. Touches each batch alone: `take` on all would first copy them into one."""
    starts = np.cumsum([0, *(len(batch) for batch in batches)])
    owners = np.searchsorted(starts, positions, side="right") - 1
    pieces, places = [SCHEMA.empty_table()], []
    for number in np.unique(owners):
        mine = np.flatnonzero(owners == number)
        pieces.append(pa.Table.from_batches([batches[number].take(pa.array(positions[mine] - starts[number]))]))
        places.append(mine)
    if not places:
        return pieces[0]
    return pa.concat_tables(pieces).take(pa.array(np.argsort(np.concatenate(places))))
