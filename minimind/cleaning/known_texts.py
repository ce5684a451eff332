"""What earlier cleanings have found out about texts: clean text, signals, signature, and pairs that were compared.

`<store>/texts/<domain>/<fingerprint>/` holds a folder for each partition that was ever read, under a fingerprint of
what shapes the part pass: its code, the values that its SQL asks for, the versions of libraries and of Python. It saves
time and decides nothing: a cleaning gives the same bytes with it, without it, or with half of it. The lock on the
domain's ledger keeps other runs away.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import duckdb

from minimind.cleaning.database import Parameters, copied_as, numbered_files, read_as, rows_of, used_by
from minimind.cleaning.parts import PASSING, Part, Resources, is_whole, read_part, seal
from minimind.parts import Report
from minimind.store import Store, recipe

logger = logging.getLogger(__name__)

PARTITIONS = "select distinct partition from new_texts order by partition"
KEYS_OF_PARTITION = "select document_id, text_key from new_texts where partition = $partition"
NEW_PAIRS = """
    select a.text_key as key_a, b.text_key as key_b, jaccard
    from compared_pairs
    anti join known_similarities using (i, j)
    join catalogue as a on a.number = i
    join catalogue as b on b.number = j
"""
# numpy adds up what decides a language; Python knows what a letter is
TEXT_LIBRARIES = ("duckdb", "ftfy", "numpy", "phonenumbers", "py3langid", "python", "python-stdnum")
OTHER_PASSES = ("cleaning/sql/corpus/", "cleaning/sql/whole/", "cleaning/sql/published/")
COMPARING = ("shingle_sets.sql", "compared_pairs.sql")  # of another pass, and what shapes the pairs that are kept


@dataclass(frozen=True)
class KnownTexts:
    """The texts of one domain that were read with these parameters."""

    store: Store
    parameters: Parameters

    @cached_property
    def folder(self) -> Path:
        asked: dict[str, object] = {"needless": self.parameters["needless"]}
        for _, query in numbered_files("part"):
            asked |= used_by(query, self.parameters)
        made = recipe("cleaning", asked, {}, TEXT_LIBRARIES)
        shaping = {
            name: digest
            for name, digest in made.code.items()
            if not name.startswith(OTHER_PASSES) or name.endswith(COMPARING)
        }
        return self.store.root / "texts" / self.store.domain / replace(made, code=shaping).fingerprint

    def read(
        self,
        connection: duckdb.DuckDBPyConnection,
        documents: Sequence[Path],
        resources: Resources,
        working: Path,
        report: Report,
    ) -> None:
        """Reads the texts of the table `new_texts`, partition by partition."""
        first = self._next_number("part")
        rows = rows_of(connection, PARTITIONS, {})
        parts = []
        for number, row in enumerate(rows, start=first):
            keys = working / f"keys-{number}.parquet"
            copied_as(connection, KEYS_OF_PARTITION, row, keys)
            parts.append(
                Part(
                    folder=working / f"part-{number:05}",
                    keys=keys,
                    documents=tuple(documents),
                    parameters=dict(self.parameters),
                    threads=resources.threads,
                    memory_bytes=resources.memory_bytes,
                    at_once=min(resources.workers.at_once, len(rows)),
                )
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        for part, _ in resources.workers.each(read_part, parts, report):
            # by us alone, who hold the ledger's lock: a worker that outlives its run must add nothing to the next
            part.folder.rename(self.folder / part.folder.name)

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Gives the connection a view of every table of the part pass."""
        folders = self._folders("part")
        for name, _ in numbered_files("part"):
            if name not in PASSING:
                read_as(connection, name, [folder / f"{name}.parquet" for folder in folders])

    def attach_keys(self, connection: duckdb.DuckDBPyConnection) -> None:
        """The view `known_texts` of the keys of all texts read so far; what is damaged or unfinished is thrown away."""
        for unfinished in self.folder.glob(".*.building"):
            shutil.rmtree(unfinished, ignore_errors=True)
        for folder in [*self._folders("part"), *self._folders("pairs")]:
            if not is_whole(folder):
                logger.warning("%s is damaged and is read anew", folder)
                shutil.rmtree(folder)
        known = [folder / "texts.parquet" for folder in self._folders("part")]
        if known:
            read_as(connection, "known_texts", known)
        else:
            connection.execute("create view known_texts as select null::varchar as text_key where false")
        pairs = [folder / "pairs.parquet" for folder in self._folders("pairs")]
        if pairs:
            read_as(connection, "known_pairs", pairs)
        else:
            connection.execute(
                "create view known_pairs as select '' as key_a, '' as key_b, 0.0::double as jaccard where false"
            )

    def remember_pairs(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Keeps the pairs that this cleaning compared and no earlier one did."""
        if connection.execute(f"select 1 from ({NEW_PAIRS}) limit 1").fetchone():
            target = self.folder / f"pairs-{self._next_number('pairs'):05}"
            building = target.with_name(f".{target.name}.building")
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
            copied_as(connection, NEW_PAIRS, {}, building / "pairs.parquet")
            seal(building, target)

    def forget_others(self) -> None:
        """Removes what was read with other code or values: of a domain, only the newest is of use."""
        for path in self.folder.parent.iterdir():
            if path != self.folder and path.is_dir():
                shutil.rmtree(path)

    def _folders(self, kind: str) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"{kind}-*") if path.is_dir())

    def _next_number(self, kind: str) -> int:
        """One more than the highest: a killed or damaged part leaves a gap."""
        return max((int(path.name.rpartition("-")[2]) + 1 for path in self._folders(kind)), default=0)
