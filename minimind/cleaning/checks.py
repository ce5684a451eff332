"""What stops a cleaning: a corpus without documents, one that nothing is left of, a holdout that is too small."""

from collections.abc import Mapping
from typing import Any

import duckdb

from minimind.cleaning.database import default_memory_bytes, rows_of
from minimind.cleaning.decontamination import check_evaluation_files
from minimind.cleaning.parameters import sql_parameters
from minimind.config import CleaningConfig
from minimind.errors import CorpusTooSmallError, SourceError


def check_section(section: CleaningConfig) -> None:
    """What is seen to be wrong before a corpus is read for hours.

    Raises ConfigError for a language or a country that is none, SourceError for an evaluation file, UserError for an
    amount of memory that is none.
    """
    default_memory_bytes()
    sql_parameters(section)
    check_evaluation_files(section.decontamination)


def check_documents(connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any]) -> None:
    """Raises for an empty corpus and for a document_id that stands twice."""
    if not connection.execute("select 1 from corpus_documents limit 1").fetchone():
        raise CorpusTooSmallError(
            "the corpus has no documents, at least one was expected; check the sources under corpus in the YAML"
        )
    twice = connection.execute(
        "select document_id from corpus_documents group by document_id having count(*) > 1 order by document_id limit 1"
    ).fetchone()
    if twice:
        raise SourceError(
            f"the document_id {twice[0]} stands twice in the corpus; ids have to be unique within a source"
        )


def asks_for_some(parameters: Mapping[str, Any]) -> bool:
    """False where a corpus is looked at however little is left of it (minimind.explore); no YAML can say that."""
    return bool(parameters["min_documents"])


def check_unfit(connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any]) -> None:
    """Raises if no document is left, and some were asked for."""
    documents, removed = counts_of_removals(connection)
    if documents == removed and asks_for_some(parameters):
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
    if not row["train_documents"] and asks_for_some(parameters):
        raise CorpusTooSmallError(
            f"all documents fall into the holdout and none is left to train on: {found}; add documents that "
            "are no near-duplicates of these"
        )


def check_training(connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any]) -> None:
    """Raises if decontamination has left nothing to train on."""
    query = """
        select count(*) from splits where split = 'train' and number not in (select number from removals)
    """
    row = connection.execute(query).fetchone()
    if row == (0,) and asks_for_some(parameters):
        raise CorpusTooSmallError(
            "every training document overlaps with the holdout or an evaluation file, at least one is needed; add "
            "documents, or raise cleaning.decontamination.max_overlap"
        )


def check_source_losses(connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, Any]) -> None:
    """Raises if a source lost more than it may: more often a threshold that does not fit than that much junk."""
    permitted = parameters["max_removed_share"]
    for row in rows_of(connection, "select * from source_losses", {}):
        if row["removed"] > permitted * row["documents"]:
            raise SourceError(
                f"source {row['source']} lost {row['removed']:,} of {row['documents']:,} documents "
                f"({row['removed'] / row['documents']:.0%}; {reasons_of_source(connection, row['source'])}), and "
                f"cleaning.max_removed_share permits {permitted:.0%}; loosen the rules that removed them, raise the "
                "share, or take the source out"
            )


CHECKS = {
    "corpus_documents": check_documents,
    "unfit_documents": check_unfit,
    "holdout_share": check_holdout,
    "removals": check_training,
    "source_losses": check_source_losses,
}


def counts_of_removals(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Documents in, documents removed."""
    row = connection.execute(
        "select (select count(*) from catalogue), (select count(*) from unfit_documents)"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def removal_reasons(connection: duckdb.DuckDBPyConnection) -> str:
    """Such as `removed: exact_duplicate 3, min_words 2`."""
    query = "select reason, count(*) from unfit_documents group by place, reason order by place, 2 desc, reason"
    rows = connection.execute(query).fetchall()
    return "removed: " + (", ".join(f"{reason} {count:,}" for reason, count in rows) or "none")


def reasons_of_source(connection: duckdb.DuckDBPyConnection, source: str) -> str:
    """Such as `min_words 20, exact_duplicate 3`: the most frequent first."""
    query = """
        select reason, count(*)
        from removals
        join catalogue using (number)
        where source = $source
        group by reason
        order by 2 desc, reason
    """
    return ", ".join(
        f"{reason} {count:,}" for reason, count in connection.execute(query, {"source": source}).fetchall()
    )
