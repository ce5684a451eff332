"""The cleaning stage: raw documents in; train, holdout and removed documents out. Every decision is in `sql/`."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from minimind.cleaning.database import (
    connect,
    make_table,
    make_text_table,
    numbered_files,
    publish_table,
    read_as,
    rows_of,
)
from minimind.cleaning.duplicates import ROUND, compare_in_rounds, near_duplicate_parameters
from minimind.cleaning.split import (
    corpus_digest,
    ledger_path,
    previous_ledger,
    record_ledger,
    split_parameters,
)
from minimind.config import CleaningConfig
from minimind.errors import CorpusTooSmallError, SourceError
from minimind.store import Manifest, Outcome, Store, disk_full_said, recipe

DOCUMENT_FIELDS = [
    ("document_id", pa.string()),
    ("text", pa.string()),
    ("source", pa.string()),
    ("title", pa.string()),
    ("license", pa.string()),
    ("metadata", pa.map_(pa.string(), pa.string())),
]
REMOVAL_FIELDS = [("step", pa.string()), ("reason", pa.string()), ("kept_document_id", pa.string())]
PAIR_FIELDS = [("document_id_a", pa.string()), ("document_id_b", pa.string()), ("jaccard", pa.float64())]

TEXT_TABLES = {"documents": pa.schema([*DOCUMENT_FIELDS, ("raw_bytes", pa.int64())])}
COUNTED = ("funnel", "lengths", "sources", "totals")
PUBLISHED = {
    "train": pa.schema(DOCUMENT_FIELDS),
    "holdout": pa.schema(DOCUMENT_FIELDS),
    "removed": pa.schema(DOCUMENT_FIELDS + REMOVAL_FIELDS),
    "pairs": pa.schema(PAIR_FIELDS),
    "ledger": pa.schema([("document_id", pa.string()), ("split", pa.string())]),
}


@dataclass(frozen=True)
class CleaningInputs:
    corpus: Manifest
    threads: int | None = None  # None: every core; shapes no result


def build(section: CleaningConfig, inputs: CleaningInputs, store: Store) -> Manifest:
    """Cleans the corpus and splits it, going on from the ledger that the last other corpus left.

    Raises CorpusTooSmallError if too little is left for a train and a holdout split, LedgerError if the ledger to go
    on from is gone. The domain's ledger is locked from reading to recording, so that two runs cannot both go on from
    the same one.
    """
    documents = inputs.corpus.matching("documents-", ".parquet")
    digest = corpus_digest(documents)
    with disk_full_said(store.root), store.lock(f"ledger-{store.domain}"):
        ledger = previous_ledger(store, digest)
        made_from = recipe(
            "cleaning",
            section,
            inputs=documents | ({"previous_ledger": ledger} if ledger else {}),
            libraries=("duckdb", "pyarrow"),
            parents={"corpus": inputs.corpus.fingerprint},
        )
        manifest = store.build(made_from, lambda folder: clean(section, inputs, store, ledger, folder))
        record_ledger(store, digest, manifest)
    return manifest


def clean(section: CleaningConfig, inputs: CleaningInputs, store: Store, ledger: str | None, folder: Path) -> Outcome:
    """Runs the SQL files in order and writes what is published into `folder`."""
    working = folder / ".working"
    working.mkdir()
    parameters = (
        near_duplicate_parameters(section.near_duplicates)
        | section.quality.model_dump()
        | split_parameters(section.split)
    )
    with connect(working, inputs.threads) as connection:
        read_as(connection, "corpus", [inputs.corpus.file(name) for name in inputs.corpus.matching("documents-")])
        read_previous_ledger(connection, store, ledger)
        results = run_files(connection, parameters, store, working, folder)
        outcome = summarize(connection, results)
    shutil.rmtree(working)
    return outcome


def read_previous_ledger(connection: duckdb.DuckDBPyConnection, store: Store, ledger: str | None) -> None:
    if ledger:
        read_as(connection, "previous_ledger", [ledger_path(store, ledger)])
    else:
        connection.execute("create table previous_ledger (document_id varchar, split varchar)")


def run_files(
    connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any], store: Store, working: Path, folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """The rows of the files that only count."""
    files = numbered_files()
    results = {}

    def report(done: int, text: str) -> None:
        store.report("cleaning", done, len(files), text)

    def report_round(place: int, text: str) -> None:
        report([name for name, _ in files].index(ROUND[0]) + place, text)

    for done, (name, query) in enumerate(files):
        if name not in ROUND:
            report(done, name.replace("_", " "))
        if name in TEXT_TABLES:
            make_text_table(connection, name, query, parameters, working / f"{name}.parquet", TEXT_TABLES[name])
        elif name in PUBLISHED:
            publish_table(connection, query, parameters, folder / f"{name}.parquet", PUBLISHED[name])
        elif name in COUNTED:
            results[name] = rows_of(connection, query, parameters)
        elif name == ROUND[0]:
            compare_in_rounds(connection, dict(files), parameters, report_round)
        elif name not in ROUND:
            make_table(connection, name, query, parameters)
        if name in CHECKS:
            CHECKS[name](connection, parameters)
    report(len(files), "done")
    return results


# --- what is too little -----------------------------------------------------------------------------------------------


def check_catalogue(connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any]) -> None:
    """Raises for an empty corpus and for a document_id that stands twice."""
    if not connection.execute("select 1 from catalogue limit 1").fetchone():
        raise CorpusTooSmallError(
            "the corpus has no documents, at least one was expected; check the sources under corpus in the YAML"
        )
    twice = connection.execute(
        "select document_id from catalogue group by document_id having count(*) > 1 order by document_id limit 1"
    ).fetchone()
    if twice:
        raise SourceError(
            f"the document_id {twice[0]} stands twice in the corpus; ids have to be unique within a source"
        )


def check_removals(connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any]) -> None:
    """Raises if no document is left."""
    documents, removed = counts_of_removals(connection)
    if documents == removed:
        raise CorpusTooSmallError(
            f"all {documents:,} documents were removed ({removal_reasons(connection)}); "
            "loosen cleaning.quality in the YAML, or add sources"
        )


def check_holdout(connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any]) -> None:
    """Raises if the holdout, at its largest share, is too small, or if nothing is left to train on."""
    [row] = rows_of(connection, "select * from holdout_share", {})
    documents, removed = counts_of_removals(connection)
    found = f"of {documents:,} documents {documents - removed:,} are left ({removal_reasons(connection)})"
    if not row["enough"]:
        raise CorpusTooSmallError(
            f"the holdout, at most a fifth of the documents, would have {row['documents']:,} documents with "
            f"{row['bytes']:,} bytes, at least {parameters['min_documents']:,} documents and "
            f"{parameters['min_bytes']:,} bytes are needed: {found}; add documents, or lower "
            "cleaning.split.min_documents and min_bytes in the YAML"
        )
    if not row["train_documents"]:
        raise CorpusTooSmallError(
            f"all documents fall into the holdout and none is left to train on: {found}; add documents that "
            "are no near-duplicates of these"
        )


CHECKS = {"catalogue": check_catalogue, "removals": check_removals, "holdout_share": check_holdout}


def counts_of_removals(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Documents in, documents removed."""
    row = connection.execute("select (select count(*) from catalogue), (select count(*) from removals)").fetchone()
    assert row is not None
    return row[0], row[1]


def removal_reasons(connection: duckdb.DuckDBPyConnection) -> str:
    """Such as `removed: exact_duplicate 3, min_words 2`."""
    query = "select reason, count(*) from removals group by place, reason order by place, 2 desc, reason"
    rows = connection.execute(query).fetchall()
    return "removed: " + (", ".join(f"{reason} {count:,}" for reason, count in rows) or "none")


# --- counts -----------------------------------------------------------------------------------------------------------


def summarize(connection: duckdb.DuckDBPyConnection, results: Mapping[str, list[dict[str, Any]]]) -> Outcome:
    [counts] = results["totals"]
    [share] = rows_of(connection, "select share from holdout_share", {})
    details = {
        "funnel": results["funnel"],
        "sources": {row.pop("source"): row for row in results["sources"]},
        "lengths": results["lengths"],
        "holdout_share": share["share"],
    }
    return Outcome(counts, details)
