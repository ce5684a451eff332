"""The truth that near-duplicate removal is measured against: every pair of documents with J >= 0.7, exactly.

A prefix-filter join in DuckDB over sets of 5-word shingles; words are `[\\p{L}\\p{N}_]+` of the lower-cased text. It
shares no code with the library. `tests/benchmarks` holds it against brute force.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

FILES = Path(__file__).parent
MIN_PERCENT = 70


def true_pairs(files: Sequence[Path], working: Path) -> pa.Table:
    """(a, b, jaccard), a < b, in order. The files are JSON lines with id and text; `working` holds what spills."""
    kept = working / "true_pairs.parquet"
    if kept.is_file():
        return pq.read_table(kept)
    working.mkdir(parents=True, exist_ok=True)
    parameters = {"min_percent": MIN_PERCENT}
    with duckdb.connect(":memory:", config=settings(working)) as connection:
        connection.read_json(
            [str(path) for path in files],
            format="newline_delimited",
            columns={"id": "varchar", "text": "varchar"},
            maximum_object_size=256_000_000,
        ).create_view("texts")
        for path in sorted(FILES.glob("*.sql")):
            query = path.read_text()
            used = {name: value for name, value in parameters.items() if f"${name}" in query}
            connection.execute(f"create table {re.sub('^[0-9]+_', '', path.stem)} as {query}", used)
        pairs = connection.table("true_pairs").to_arrow_table()
    pq.write_table(pairs, kept.with_suffix(".partial"))
    kept.with_suffix(".partial").replace(kept)
    return pairs


def settings(working: Path) -> dict[str, str | bool]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "memory_limit": f"{memory // 2}B",
        "temp_directory": str(working / "spilled"),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
    }
