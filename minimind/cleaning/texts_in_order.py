"""The texts of all documents in the order in which they are published, within a bound of memory.

A sort of rows that hold texts moves every text several times and may not fit. Here the rows are sorted without them,
and texts join their rows run by run: a run is as many documents, one after another in that order, as memory holds.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from minimind.cleaning import database
from minimind.cleaning.database import SQL, batches_of, row_groups

RUNS = """
select number, ((sum(bytes) over (order by removed, split, document_id) - bytes) // $run_bytes)::integer as run
from (
    select
        catalogue.number,
        catalogue.document_id,
        bytes,
        removals.number is not null as removed,
        case when not removed then split end as split  -- a removed member of a cluster has one, too
    from catalogue
    left join removals using (number)
    left join splits using (number)
)
order by number
"""
KEEP_SIDES = "set disabled_optimizers = 'join_order,build_side_probe_side'"  # the right one alone is held in memory
TEXTS = pa.schema([("number", pa.uint32()), ("text", pa.large_string())])


class TextsInOrder:
    """Gives rows their texts. Rows come as they are published: kept by split, then removed, each in order of id."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path, run_bytes: int) -> None:
        """Texts of more than one run wait in files in `folder`, which is made."""
        placed = connection.execute(RUNS, {"run_bytes": run_bytes}).fetchnumpy()
        self._run_of = np.zeros(int(placed["number"].max(initial=0)) + 1, np.int32)
        self._run_of[placed["number"]] = placed["run"]
        self._bytes_of = np.zeros(len(self._run_of), np.int64)
        self._folder = folder
        self._run = -1
        connection.execute(KEEP_SIDES)
        batches = self._measured(batches_of(connection, (SQL / "texts_to_publish.sql").read_text(), {}))
        if len(np.unique(placed["run"])) > 1:
            self._write(batches)
        else:
            self._hold(0, pa.Table.from_batches(batches, TEXTS))
        connection.execute("reset disabled_optimizers")

    def join(self, rows: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows, which have a `number` and no `text`, with the columns of `schema`: a batch for each row group.

        The texts of a group within one run are copied once, from where they are held to where they are compressed.
        """
        groups = row_groups(
            rows,
            database.PUBLISHED_ROWS,
            database.PUBLISHED_BYTES,
            lambda batch: self._bytes_of[batch["number"].to_numpy()].tolist(),
        )
        for group in groups:
            numbers = group["number"].to_numpy()
            runs = self._run_of[numbers]
            starts = np.flatnonzero(np.diff(runs, prepend=-1)).tolist()
            ends = [*starts[1:], len(runs)]
            texts = [
                self._texts_of(int(runs[start]), numbers[start:end]) for start, end in zip(starts, ends, strict=True)
            ]
            text = texts[0] if len(texts) == 1 else pa.concat_arrays(texts)
            columns = [text if name == "text" else group[name].chunk(0) for name in schema.names]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _texts_of(self, run: int, numbers: npt.NDArray[np.uint32]) -> pa.Array:
        if run != self._run:
            with pa.memory_map(str(self._path(run))) as file:
                self._hold(run, pa.ipc.open_stream(file).read_all())
        places = np.searchsorted(self._numbers, numbers)
        assert np.array_equal(self._numbers[places], numbers)
        return self._texts.take(pa.array(self._order[places])).cast(pa.string())

    def _hold(self, run: int, table: pa.Table) -> None:
        numbers = table["number"].to_numpy()
        self._order = np.argsort(numbers)
        self._numbers = numbers[self._order]
        self._texts = table["text"].combine_chunks()
        self._run = run

    def _measured(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._bytes_of[batch["number"].to_numpy()] = pc.binary_length(batch["text"]).to_numpy()
            yield batch.cast(TEXTS)

    def _write(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._folder.mkdir()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with ExitStack() as files:
            writers: dict[int, pa.RecordBatchWriter] = {}
            for batch in batches:
                runs = self._run_of[batch["number"].to_numpy()]
                for run in np.unique(runs).tolist():
                    if run not in writers:
                        file = files.enter_context(pa.OSFile(str(self._path(run)), "wb"))
                        writers[run] = files.enter_context(pa.ipc.new_stream(file, TEXTS, options=options))
                    writers[run].write_batch(batch.filter(pa.array(runs == run)))

    def _path(self, run: int) -> Path:
        return self._folder / f"{run}.arrow"
