"""Texts that earlier cleanings have read and no corpus that the store keeps has any more; pruning removes them."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from minimind.cleaning.database import connect, copied_as, make_text_table, read_as, rows_of
from minimind.cleaning.parts import DIGESTS, TEXTS, is_whole, seal
from minimind.pruning import needed_builds, size_of
from minimind.store import Manifest, Store

NEEDED = "create table needed as select distinct md5(text) as text_key from corpus"
NOTHING_NEEDED = "create table needed (text_key varchar)"
LEFT = {
    "part": "from {table} semi join needed using (text_key)",
    "pairs": "from {table} where key_a in (from needed) and key_b in (from needed)",
}


@dataclass(frozen=True)
class Forgotten:
    """What no corpus of a domain needs of its known texts."""

    path: Path
    texts: int
    of: int
    bytes: int  # on disk; of what is not whole folders, estimated by the share of texts until they are removed


def forgotten_texts(store: Store, remove: bool = False) -> list[Forgotten]:
    """By domain, and none where all are needed. With `remove`, they are gone afterwards; no run may use the store."""
    return [found for domain in domains(store) if (found := forgotten_of_domain(store, domain, remove)).bytes]


def domains(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "texts").glob("*") if path.is_dir())


def forgotten_of_domain(store: Store, domain: str, remove: bool) -> Forgotten:
    path = store.root / "texts" / domain
    kept = needed_builds(store)
    corpora = [each for each in store.manifests("corpus", domain) if ("corpus", each.fingerprint) in kept]
    before, texts, of, freed = size_of(path), 0, 0, 0.0
    with store.scratch() as working, connect(working) as connection:
        look_up_needed(connection, corpora)
        for number, (kind, folder) in enumerate(folders_below(path)):
            rows, left = counts_of(connection, kind, folder, f"known_{number}")
            if kind == "part":
                texts, of = texts + rows - left, of + rows
            freed += size_of(folder) * (1 - left / rows if rows else 1)
            if remove and left < rows:
                keep_what_is_needed(connection, kind, folder, left, f"rows_{number}")
    return Forgotten(path, texts, of, before - size_of(path) if remove else int(freed))


def look_up_needed(connection: duckdb.DuckDBPyConnection, corpora: Sequence[Manifest]) -> None:
    """Makes the table `needed` of the keys of all texts of these corpora."""
    documents = [corpus.file(name) for corpus in corpora for name in corpus.matching("documents-")]
    if documents:
        read_as(connection, "corpus", documents)
    connection.execute(NEEDED if documents else NOTHING_NEEDED)


def folders_below(path: Path) -> Iterator[tuple[str, Path]]:
    """The partitions and the folders of pairs of a domain, under whatever fingerprint.

    Those that are damaged are none: the next cleaning removes them.
    """
    for kind in LEFT:
        yield from ((kind, folder) for folder in sorted(path.glob(f"*/{kind}-*")) if is_whole(folder))


def counts_of(connection: duckdb.DuckDBPyConnection, kind: str, folder: Path, table: str) -> tuple[int, int]:
    """Texts or pairs in a folder, and how many of them are needed."""
    read_as(connection, table, [folder / ("texts.parquet" if kind == "part" else "pairs.parquet")])
    query = f"select (select count(*) from {table}) as rows, (select count(*) {LEFT[kind].format(table=table)}) as left"
    [row] = rows_of(connection, query, {})
    return row["rows"], row["left"]


def keep_what_is_needed(connection: duckdb.DuckDBPyConnection, kind: str, folder: Path, left: int, table: str) -> None:
    """Replaces a folder by one of the rows that are needed, or removes it; killed in between, it is read anew."""
    building = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    if left:
        building.mkdir()
        for place, path in enumerate(sorted(folder.glob("*.parquet"))):
            name = f"{table}_{place}"
            read_as(connection, name, [path])
            query = LEFT[kind].format(table=name)
            if path.stem == "texts":
                make_text_table(connection, f"{name}_left", query, {}, building / path.name, TEXTS)
            else:
                copied_as(connection, query, {}, building / path.name)
    (folder / DIGESTS).unlink()  # without it, half a folder is none
    shutil.rmtree(folder)
    if left:
        seal(building, folder)
