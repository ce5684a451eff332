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

from minimind.cleaning.database import SQL, batches_of

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
# Joins keep their sides. What waits for this process is measured without its texts, so little may wait; what is
# streamed afterwards has none.
BEFORE = "set disabled_optimizers = 'join_order,build_side_probe_side'; set streaming_buffer_size = '64KB'"
AFTER = "reset disabled_optimizers; reset streaming_buffer_size"
TEXTS = pa.schema([("number", pa.uint32()), ("text", pa.large_string())])


class TextsInOrder:
    """Gives rows their texts. Rows come as they are published: kept by split, then removed, each in order of id."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path, run_bytes: int) -> None:
        """Texts of more than one run wait in files in `folder`, which is made."""
        placed = connection.execute(RUNS, {"run_bytes": run_bytes}).fetchnumpy()
        self._run_of = np.zeros(int(placed["number"].max(initial=0)) + 1, np.int32)
        self._run_of[placed["number"]] = placed["run"]
        self._folder = folder
        self._run = -1
        connection.execute(BEFORE)
        batches = batches_of(connection, (SQL / "texts_to_publish.sql").read_text(), {})
        if len(np.unique(placed["run"])) > 1:
            self._write(batches)
        else:
            self._hold(0, pa.Table.from_batches((batch.cast(TEXTS) for batch in batches), TEXTS))
        connection.execute(AFTER)

    def join(self, rows: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows, which have a `number` and no `text`, with the columns of `schema`."""
        for batch in rows:
            numbers = batch["number"].to_numpy()
            runs = self._run_of[numbers]
            starts = np.flatnonzero(np.diff(runs, prepend=-1))
            for start, end in zip(starts, [*starts[1:], len(runs)], strict=True):
                text = self._texts_of(int(runs[start]), numbers[start:end])
                part = batch.slice(start, end - start)
                columns = [text if name == "text" else part[name] for name in schema.names]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _texts_of(self, run: int, numbers: npt.NDArray[np.uint32]) -> pa.Array:
        if run != self._run:
            with pa.memory_map(str(self._path(run))) as file:
                self._hold(run, pa.ipc.open_stream(file).read_all())
        places = self._order[np.searchsorted(self._numbers, numbers)]
        return self._texts.take(pa.array(places)).cast(pa.string())

    def _hold(self, run: int, table: pa.Table) -> None:
        numbers = table["number"].to_numpy()
        self._order = np.argsort(numbers)
        self._numbers = numbers[self._order]
        self._texts = table["text"].combine_chunks()
        self._run = run

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
                    writers[run].write_batch(batch.filter(pa.array(runs == run)).cast(TEXTS))

    def _path(self, run: int) -> Path:
        return self._folder / f"{run}.arrow"
