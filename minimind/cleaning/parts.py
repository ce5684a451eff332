"""The part pass: what can be found out about a text by itself, for texts that no earlier cleaning has seen.

The texts are cut into partitions that fit into memory, each the work of one process or thread. What a partition
yields is a function of its texts alone, so that neither their number nor their order shapes a result.
"""

import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from minimind.cleaning.database import (
    connect,
    copied_as,
    default_memory_bytes,
    make_text_table,
    numbered_files,
    read_as,
    unless_needless,
)
from minimind.cleaning.normalize import add_normalizing_functions
from minimind.digests import sha256_of_file
from minimind.parts import IN_TURN, Report, Workers, cores, silent

PASSING = {"line_signals", "word_signals", "run_signals"}  # tables that only others of this pass read
TEXTS = pa.schema(
    [
        ("text_key", pa.string()),
        ("text", pa.string()),
        ("bytes", pa.int64()),
        ("chars", pa.int64()),
        ("text_md5", pa.string()),
    ]
)
DIGESTS = "digests.json"
PARTITION_BYTES = 256_000_000  # of raw text
LEAST_PARTITION_BYTES = 16_000_000  # where a process takes one: to start it takes seconds


@dataclass(frozen=True)
class Part:
    """One partition: which documents' texts it reads, and where its tables go. Carries all that a worker needs."""

    folder: Path  # in the working folder of the cleaning, which alone publishes it; there at once and whole
    keys: Path  # Parquet: document_id, text_key
    documents: tuple[Path, ...]
    parameters: dict[str, Any]
    threads: int | None  # of the machine, as in Resources
    memory_bytes: int | None
    at_once: int  # of so many parts that the machine works on, each with its share of both
    size: float = 1.0

    @property
    def name(self) -> str:
        return f"cleaning {self.folder.name}"


@dataclass(frozen=True)
class Resources:
    """How much of the machine a cleaning may use, and who works on its parts; shapes no result."""

    threads: int | None = None  # None: every core
    memory_bytes: int | None = None  # None: MINIMIND_MEMORY, else half of the machine's
    partition_bytes: int = PARTITION_BYTES
    workers: Workers = IN_TURN


def read_part(part: Part, report: Report = silent) -> None:
    """Makes the tables of `sql/part/` for the texts of one partition.

    Two may work on the same part, where one was taken for dead: the first to end is the one that counts.
    """
    building = part.folder.with_name(f".{part.folder.name}-{uuid.uuid4().hex[:8]}")
    working = building / ".working"
    working.mkdir(parents=True)
    threads = max(1, (part.threads or cores()) // part.at_once)
    memory_bytes = (part.memory_bytes or default_memory_bytes()) // part.at_once
    with connect(working, threads, memory_bytes) as connection:
        read_as(connection, "keys", [part.keys])
        read_as(connection, "corpus", part.documents)
        add_normalizing_functions(connection)
        connection.execute(
            "create view raw_texts as select keys.text_key, text from corpus join keys using (document_id)"
        )
        files = numbered_files("part")
        for done, (name, file) in enumerate(files):
            report(done, len(files), name)
            query = unless_needless(name, file, part.parameters)
            path = (working if name in PASSING else building) / f"{name}.parquet"
            if name == "texts":
                make_text_table(connection, name, query, part.parameters, path, TEXTS)
            else:
                copied_as(connection, query, part.parameters, path)
                read_as(connection, name, [path])
    shutil.rmtree(working)
    try:
        seal(building, part.folder)
    except OSError:
        if not is_whole(part.folder):
            raise
        shutil.rmtree(building)


def seal(building: Path, target: Path) -> None:
    """Publishes a folder with the digests of its files, so that damage is noticed."""
    digests = {path.name: sha256_of_file(path) for path in sorted(building.iterdir())}
    (building / DIGESTS).write_text(json.dumps(digests))
    building.rename(target)


def is_whole(folder: Path) -> bool:
    """Whether a folder has the files that it was published with, as they were."""
    try:
        digests = json.loads((folder / DIGESTS).read_text())
        names = {path.name for path in folder.iterdir()} - {DIGESTS}
        return digests == {name: sha256_of_file(folder / name) for name in names} and bool(names)
    except (OSError, ValueError):
        return False
