"""The cleaning stage: raw documents in; train, holdout and removed documents out. Every decision is in `sql/`."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from minimind.cleaning.checks import CHECKS
from minimind.cleaning.database import (
    batches_of,
    connect,
    default_memory_bytes,
    make_table,
    numbered_files,
    publish_table,
    read_as,
    rows_of,
    unless_needless,
)
from minimind.cleaning.decontamination import evaluation_inputs, read_evaluation_texts
from minimind.cleaning.duplicates import ROUND, compare_in_rounds, find_collisions
from minimind.cleaning.known_texts import TEXT_LIBRARIES, KnownTexts
from minimind.cleaning.language import model
from minimind.cleaning.long_texts import count_in_long_texts
from minimind.cleaning.parameters import sql_parameters
from minimind.cleaning.parts import LEAST_PARTITION_BYTES, Resources
from minimind.cleaning.split import (
    LEDGER_ROWS,
    corpus_digest,
    ledger_path,
    previous_ledger,
    record_ledger,
)
from minimind.cleaning.texts_in_order import TextsInOrder
from minimind.config import CleaningConfig
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

RUNS_IN_MEMORY = 8  # runs of texts that would fill it; joining and writing one takes several times its size
PASSES = {"corpus": (0.0, 0.02), "part": (0.02, 0.77), "whole": (0.77, 0.85), "published": (0.85, 1.0)}
DOCUMENTS = pa.schema(DOCUMENT_FIELDS)
REMOVED = pa.schema(DOCUMENT_FIELDS + REMOVAL_FIELDS)
PUBLISHED = {
    "pairs": pa.schema(PAIR_FIELDS),
    "ledger": LEDGER_ROWS,
}


@dataclass(frozen=True)
class CleaningInputs:
    corpus: Manifest
    resources: Resources = field(default_factory=Resources)


def build(section: CleaningConfig, inputs: CleaningInputs, store: Store) -> Manifest:
    """Cleans the corpus and splits it, going on from the ledger that the last other corpus left.

    Raises CorpusTooSmallError if too little is left for a train and a holdout split, LedgerError if the ledger to go
    on from is gone. The domain's ledger is locked from reading to recording, so that two runs cannot both go on from
    the same one.
    """
    documents = inputs.corpus.matching("documents-", ".parquet")
    digest, sources = corpus_digest(documents), list(inputs.corpus.details["sources"])
    with disk_full_said(store.root), store.lock(f"ledger-{store.domain}"):
        ledger = previous_ledger(store, digest, sources)
        made_from = recipe(
            "cleaning",
            section,
            inputs=documents
            | evaluation_inputs(section.decontamination)
            | ({"previous_ledger": ledger} if ledger else {}),
            libraries=(*TEXT_LIBRARIES, "pyarrow"),
            parents={"corpus": inputs.corpus.fingerprint},
        )
        manifest = store.build(made_from, lambda folder: clean(section, inputs, store, ledger, folder))
        record_ledger(store, digest, sources, manifest)
    return manifest


def clean(section: CleaningConfig, inputs: CleaningInputs, store: Store, ledger: str | None, folder: Path) -> Outcome:
    """Reads the texts that are new, decides about all documents, and writes what is published into `folder`."""
    working = folder / ".working"
    working.mkdir()
    resources = inputs.resources
    documents = [inputs.corpus.file(name) for name in inputs.corpus.matching("documents-")]
    parameters = sql_parameters(section) | {
        "partition_bytes": resources.partition_bytes,
        "least_partition_bytes": LEAST_PARTITION_BYTES,
        "processes": resources.workers.at_once if resources.workers.elsewhere else 1,
    }
    known = KnownTexts(store, parameters)
    with (
        ThreadPoolExecutor(1, "load") as beside,
        connect(working, resources.threads, resources.memory_bytes) as connection,
    ):
        if parameters["identify_languages"] and not resources.workers.elsewhere:
            beside.submit(model)  # a second's work, for which reading the corpus leaves the time
        read_as(connection, "corpus", documents)
        read_previous_ledger(connection, store, ledger)
        read_evaluation_texts(connection, section.decontamination)
        known.attach_keys(connection)
        run_pass("corpus", connection, parameters, working, store)
        known.read(connection, documents, resources, working, partial(report_part, store))
        known.attach(connection)
        run_pass("whole", connection, parameters, working, store)
        known.remember_pairs(connection)
        run_bytes = (resources.memory_bytes or default_memory_bytes()) // RUNS_IN_MEMORY
        texts = TextsInOrder(connection, working / "texts", run_bytes)
        results = publish(connection, texts, parameters, store, folder)
        report(store, "published", 1, "done")
        outcome = summarize(connection, results)
    known.forget_others()
    shutil.rmtree(working)
    return outcome


def read_previous_ledger(connection: duckdb.DuckDBPyConnection, store: Store, ledger: str | None) -> None:
    if ledger:
        read_as(connection, "previous_ledger", [ledger_path(store, ledger)])
    else:
        connection.execute("create table previous_ledger (document_id varchar, split varchar)")


def run_pass(
    folder: str, connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any], working: Path, store: Store
) -> None:
    """Makes the tables of a pass in their order; those of ROUND several times over."""
    files = dict(numbered_files(folder))
    for place, (name, query) in enumerate(files.items()):
        say = partial(report, store, folder, place / len(files))
        say(name)
        if name == "collisions":
            find_collisions(connection, query, parameters)
        elif name == ROUND[0]:
            compare_in_rounds(connection, files, parameters, working, say)
        elif name == "long_text_grams":
            count_in_long_texts(connection, name, query, parameters)
        elif name not in ROUND:
            make_table(connection, name, unless_needless(name, query, parameters), parameters)
        if name in CHECKS:
            CHECKS[name](connection, parameters)


def publish(
    connection: duckdb.DuckDBPyConnection,
    texts: TextsInOrder,
    parameters: Mapping[str, Any],
    store: Store,
    folder: Path,
) -> dict[str, list[dict[str, Any]]]:
    """Writes the files of the build; the rows of the tables that only count."""
    results = {}
    files = numbered_files("published")
    for place, (name, query) in enumerate(files):
        report(store, "published", place / len(files), name)
        if name == "kept_documents":
            for split in ("holdout", "train"):
                rows = batches_of(connection, query, {**parameters, "split": split})
                publish_table(texts.join(rows, DOCUMENTS), folder / f"{split}.parquet", DOCUMENTS)
        elif name == "removed":
            rows = batches_of(connection, query, parameters)
            publish_table(texts.join(rows, REMOVED), folder / "removed.parquet", REMOVED)
        elif name in PUBLISHED:
            batches = batches_of(connection, query, parameters)
            publish_table(batches, folder / f"{name}.parquet", PUBLISHED[name])
        else:
            results[name] = rows_of(connection, query, parameters)
    return results


def report(store: Store, folder: str, share: float, text: str) -> None:
    """Says how far the cleaning has come, of which three quarters are the reading of texts."""
    begin, end = PASSES[folder]
    store.report("cleaning", begin + share * (end - begin), 1, text.replace("_", " "))


def report_part(store: Store, done: float, total: float | None, text: str) -> None:
    report(store, "part", done / total if total else 0.0, text)


# --- counts -----------------------------------------------------------------------------------------------------------


def summarize(connection: duckdb.DuckDBPyConnection, results: Mapping[str, list[dict[str, Any]]]) -> Outcome:
    [counts] = results["totals"]
    [share] = rows_of(connection, "select share from holdout_share", {})
    listed = {name: rows for name, rows in results.items() if name not in ("totals", "sources")}
    details = listed | {
        "sources": {row.pop("source"): row for row in results["sources"]},
        "holdout_share": share["share"],
    }
    return Outcome(counts, details)
