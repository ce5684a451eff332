"""DuckDB as this stage uses it: a bounded connection, numbered SQL files, text in Parquet."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from minimind.cleaning.language import add_language_function
from minimind.cleaning.personal_data import create_functions
from minimind.cleaning.text_functions import add_text_functions
from minimind.errors import MemoryLimitError, UserError
from minimind.machine import container_memory
from minimind.parts import cores, one_ahead

SQL = Path(__file__).parent / "sql"

# Small row groups are what DuckDB's threads share out and what bounds a vector of long texts in memory; its own
# tables and COPY know no group below 2,048 rows. What is published has few and large ones.
WORKING_ROWS, WORKING_BYTES = 128, 4_000_000
PUBLISHED_ROWS, PUBLISHED_BYTES = 2_048, 64_000_000
DICTIONARIES = ["source", "license"]
STATISTICS = ["document_id", "source"]
BATCH_ROWS = 128  # that DuckDB hands over at once; their texts have to stay below 2 GiB

MEMORY = "MINIMIND_MEMORY"  # environment of whoever cleans, a worker on another machine too
SIZES = {"MB": 10**6, "GB": 10**9}
LEAST_MEMORY_BYTES = 500 * SIZES["MB"]

Parameters = Mapping[str, Any]


@contextmanager
def connect(
    working: Path, threads: int | None = None, memory_bytes: int | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that spills into `working`; None: every core, and the default memory.

    Extensions are neither downloaded nor loaded, and no other file of the user's shapes it. Raises MemoryLimitError
    where the memory does not do.
    """
    memory_bytes = memory_bytes or default_memory_bytes()
    settings: dict[str, Any] = {
        "threads": threads or cores(),
        "memory_limit": f"{memory_bytes}B",
        "temp_directory": str(working / "spilled"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "preserve_insertion_order": False,  # every order that matters is asked for
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        # Of a row that waits for this process some 20 bytes are counted, whatever its text: with texts of 20 kB, a
        # twentieth of the memory may wait. What caching operators put together, chunks of few long texts, is counted
        # nowhere.
        connection.execute(
            f"set streaming_buffer_size = '{max(1, memory_bytes // 20_000)}B'; set enable_caching_operators = false"
        )
        connection.execute((SQL / "functions.sql").read_text())
        add_text_functions(connection)
        add_language_function(connection)
        connection.execute((SQL / "personal_data_gate.sql").read_text())
        create_functions(connection)
        try:
            yield connection
        except duckdb.OutOfMemoryException as error:
            if "max_temp_directory_size" in str(error):  # of the disk
                raise
            raise MemoryLimitError(
                f"cleaning needs more memory than the {memory_bytes / 1e6:,.0f} MB that it may use; raise {MEMORY} "
                "(4GB, for example), or give the machine more"
            ) from error
        # DuckDB's words for Ctrl-C and SIGTERM, the last in the middle of a Python function
        except (duckdb.InterruptException, duckdb.InvalidInputException, RuntimeError) as error:
            if "interrupt" not in str(error).lower():
                raise
            raise KeyboardInterrupt from None


def default_memory_bytes() -> int:
    """For DuckDB, all parts of this machine together: MINIMIND_MEMORY, else half of the memory. Raises UserError."""
    asked = os.environ.get(MEMORY)
    if not asked:
        return machine_memory_bytes() // 2
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?) ?([MG]B)", asked)
    memory_bytes = int(float(match[1]) * SIZES[match[2]]) if match else 0
    if memory_bytes < LEAST_MEMORY_BYTES:
        raise UserError(
            f"{MEMORY} is {asked!r}; write 500MB or more, 4GB for example, or take it out: half of the memory"
        )
    return memory_bytes


def machine_memory_bytes() -> int:
    """Of this machine, or of the container that the process runs in."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    container = container_memory()
    return min(machine, container.limit) if container else machine


def numbered_files(folder: str) -> list[tuple[str, str]]:
    """(name of the table, query) of every numbered SQL file of a pass, in the order in which they run."""
    found = [
        (match, path) for path in (SQL / folder).glob("*.sql") if (match := re.fullmatch(r"(\d+)_(\w+)", path.stem))
    ]
    return [(match[2], path.read_text()) for match, path in sorted(found, key=lambda pair: int(pair[0][1]))]


def unless_needless(name: str, query: str, parameters: Parameters) -> str:
    return without_rows(query) if name in parameters["needless"] else query


def without_rows(query: str) -> str:
    """A query that gives the same columns, no row, and runs at once."""
    return f"select * from (\n{query}) limit 0"


def make_table(connection: duckdb.DuckDBPyConnection, name: str, query: str, parameters: Parameters) -> None:
    connection.execute(f"create or replace table {name} as {query}", used_by(query, parameters))


def batches_of(connection: duckdb.DuckDBPyConnection, query: str, parameters: Parameters) -> Iterator[pa.RecordBatch]:
    """The rows of a query as they come; nothing waits in memory."""
    return iter(connection.execute(query, used_by(query, parameters)).to_arrow_reader(BATCH_ROWS))


def make_text_table(
    connection: duckdb.DuckDBPyConnection, name: str, query: str, parameters: Parameters, path: Path, schema: pa.Schema
) -> None:
    """Like `make_table`, for a table that holds texts: its rows lie in Parquet at `path`."""
    batches = batches_of(connection, query, parameters)
    write_parquet(path, schema, batches, WORKING_ROWS, WORKING_BYTES)
    read_as(connection, name, [path])


def publish_table(batches: Iterator[pa.RecordBatch], path: Path, schema: pa.Schema) -> None:
    """Writes the rows, in their order, to a Parquet file whose bytes depend on nothing but the rows."""
    write_parquet(path, schema, batches, PUBLISHED_ROWS, PUBLISHED_BYTES)


def copied_as(connection: duckdb.DuckDBPyConnection, query: str, parameters: Parameters, path: Path) -> None:
    """Writes the rows of `query` to Parquet, in no order: for tables without texts that are no result."""
    target = str(path).replace("'", "''")
    options = f"format parquet, compression zstd, row_group_size {PUBLISHED_ROWS}"
    connection.execute(f"copy ({query}) to '{target}' ({options})", used_by(query, parameters))


def read_as(connection: duckdb.DuckDBPyConnection, name: str, paths: Sequence[Path]) -> None:
    """Lets queries read Parquet files under the name of a table."""
    connection.read_parquet([str(path) for path in paths]).create_view(name)


def rows_of(connection: duckdb.DuckDBPyConnection, query: str, parameters: Parameters) -> list[dict[str, Any]]:
    cursor = connection.execute(query, used_by(query, parameters))
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def used_by(query: str, parameters: Parameters) -> dict[str, Any]:
    """The named parameters that a query asks for; DuckDB refuses others."""
    code = re.sub(r"--.*", "", query)
    return {name: parameters[name] for name in sorted(set(re.findall(r"\$([a-z]\w*)", code)))}


def write_parquet(
    path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], group_rows: int, group_bytes: int
) -> None:
    """Row groups depend on rows and their bytes alone, whatever the batches that DuckDB hands over."""
    # dictionaries and statistics of texts cost time and serve nobody
    options = {"use_dictionary": DICTIONARIES, "write_statistics": STATISTICS}
    with (
        pq.ParquetWriter(path, schema, compression="zstd", **options) as writer,
        ThreadPoolExecutor(1, "compress") as thread,  # a group is compressed while the next one is gathered
    ):
        groups = row_groups(batches, group_rows, group_bytes, text_bytes)
        for _ in one_ahead(thread.submit(writer.write_table, group, row_group_size=group_rows) for group in groups):
            pass  # what went wrong with a group is raised here


def row_groups(
    batches: Iterator[pa.RecordBatch],
    group_rows: int,
    group_bytes: int,
    sizes: Callable[[pa.RecordBatch], list[int]],
) -> Iterator[pa.Table]:
    """Tables in one piece of at most `group_rows` rows and, beyond one row, about `group_bytes` by their `sizes`."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        start = 0
        for row, length in enumerate(sizes(batch)):
            if rows and (rows == group_rows or size + length > group_bytes):
                yield as_table([*waiting, batch.slice(start, row - start)] if row > start else waiting)
                waiting, start, rows, size = [], row, 0, 0
            rows, size = rows + 1, size + length
        waiting.append(batch.slice(start))
    if rows:
        yield as_table(waiting)


def text_bytes(batch: pa.RecordBatch) -> list[int]:
    if "text" not in batch.schema.names:
        return [0] * batch.num_rows
    return [length or 0 for length in pc.binary_length(batch["text"]).to_pylist()]


def as_table(batches: list[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches).combine_chunks()
