"""Looking documents up in a published cleaning: what became of them, why, and what they resemble."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from minimind.audit.difference import Piece, difference
from minimind.errors import UserError
from minimind.store import Manifest, load_manifest

SQL = Path(__file__).parent / "sql"
EXCERPT_CHARS = 400
COMPARED_CHARS = 1_000_000  # of each of two texts


class Fate(NamedTuple):
    """A document and what became of it: `split` for one that is kept, `step` and `reason` for one that is not."""

    document_id: str
    source: str
    title: str | None
    license: str | None
    metadata: dict[str, str]
    split: str | None
    step: str | None
    reason: str | None
    kept_document_id: str | None
    chars: int
    excerpt: str


class Partner(NamedTuple):
    """A document of the same cluster; `jaccard` is None where only documents between the two resemble both."""

    document_id: str
    split: str | None
    step: str | None
    reason: str | None
    jaccard: float | None


@dataclass(frozen=True)
class Wanted:
    """Which documents to look for; None or empty: any."""

    removed: bool | None = None
    reason: str | None = None  # name of a step or of a reason
    source: str | None = None
    like: str = ""


class Audit:
    """An open cleaning. Tables: train, holdout, kept, removed, fates (all documents), pairs, raw_documents."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, cleaning: Manifest, corpus: Manifest | None) -> None:
        self.connection = connection
        self.cleaning = cleaning
        self.has_raw_texts = corpus is not None
        for table in ("train", "holdout", "removed", "pairs"):
            self._read(table, cleaning, table)
        if corpus:
            self._read("raw_documents", corpus, "documents-")
        fields = "document_id, text, source, title, license, metadata"
        connection.execute(
            f"create view kept as select {fields}, 'train' as split from train "
            f"union all select {fields}, 'holdout' from holdout"
        )
        connection.execute(
            f"create view fates as select {fields}, split, null::varchar as step, null::varchar as reason, "
            f"null::varchar as kept_document_id from kept "
            f"union all select {fields}, null, step, reason, kept_document_id from removed"
        )

    def _read(self, table: str, manifest: Manifest, prefix: str) -> None:
        paths = [str(manifest.file(name)) for name in manifest.matching(prefix, ".parquet")]
        self.connection.read_parquet(paths).create_view(table)

    def rows(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of `sql/<name>.sql`."""
        cursor = self.connection.execute((SQL / f"{name}.sql").read_text(), parameters)
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    # --- which ones ---------------------------------------------------------------------------------------------------

    def reasons(self) -> dict[str, dict[str, int]]:
        """Step -> reason -> documents removed, as the manifest counted them."""
        steps: dict[str, dict[str, int]] = {}
        for row in self.cleaning.details["funnel"]:
            if row["documents"]:
                steps.setdefault(str(row["step"]), {})[str(row["reason"])] = int(row["documents"])
        return steps

    def search(self, wanted: Wanted, limit: int) -> tuple[list[Fate], int]:
        """The best matches, at most `limit`, and how many there are. Raises UserError for a name that nothing has."""
        self._check(wanted)
        found = self.rows(
            "matches",
            removed=True if wanted.reason else wanted.removed,
            reason=wanted.reason,
            source=wanted.source,
            words=wanted.like.split(),
            phrase=r"\s+".join(re.escape(word.lower()) for word in wanted.like.split()),
            excerpt_chars=EXCERPT_CHARS,
            limit=limit,
        )
        return [fate_of(row) for row in found], found[0]["matches"] if found else 0

    def _check(self, wanted: Wanted) -> None:
        steps = self.reasons()
        names = {*steps, *(reason for reasons in steps.values() for reason in reasons)}
        if wanted.reason and wanted.reason not in names:
            told = "; ".join(f"{step}: {', '.join(reasons)}" for step, reasons in steps.items()) or "nothing"
            raise UserError(
                f"this cleaning removed nothing by {wanted.reason!r}; give a step or a reason of those that it removed "
                f"documents by ({told})"
            )
        sources = self.cleaning.details["sources"]
        if wanted.source and wanted.source not in sources:
            raise UserError(
                f"there is no source {wanted.source!r} in this cleaning; its sources are {', '.join(sources)}"
            )

    # --- one of them --------------------------------------------------------------------------------------------------

    def fate(self, document_id: str) -> Fate:
        """Raises UserError, naming ids that are alike, if there is no such document."""
        row = self.connection.execute(
            "select document_id, source, title, license, metadata, split, step, reason, kept_document_id, "
            "length(text), text[:$chars] from fates where document_id = $id",
            {"id": document_id, "chars": EXCERPT_CHARS},
        ).fetchone()
        if row:
            return Fate(*row)
        alike = self.connection.execute(
            "select document_id from fates order by contains(lower(document_id), lower($id)) desc, "
            "levenshtein(lower(document_id[-100:]), lower($id[-100:])), document_id limit 3",
            {"id": document_id},
        ).fetchall()
        raise UserError(
            f"there is no document {document_id!r} in this cleaning; the ids most alike are "
            + ", ".join(row[0] for row in alike)
        )

    def text(self, document_id: str, max_chars: int | None = None) -> str:
        """The clean text, or its first `max_chars`."""
        return self._text("fates", document_id, max_chars) or ""

    def raw_text(self, document_id: str, max_chars: int | None = None) -> str | None:
        """The text as it was read; None if the raw corpus is not in the store any more."""
        return self._text("raw_documents", document_id, max_chars) if self.has_raw_texts else None

    def _text(self, table: str, document_id: str, max_chars: int | None) -> str | None:
        text = "text" if max_chars is None else f"text[:{max_chars:d}]"
        row = self.connection.execute(f"select {text} from {table} where document_id = ?", [document_id]).fetchone()
        return row[0] if row else None

    def jaccard(self, one: str, other: str) -> float | None:
        """The verified similarity of two documents; None if they were never a pair."""
        row = self.connection.execute(
            "select jaccard from pairs where document_id_a = ? and document_id_b = ?", sorted((one, other))
        ).fetchone()
        return row[0] if row else None

    def partners(self, document_id: str, limit: int) -> tuple[list[Partner], int]:
        """The documents of its near-duplicate cluster, the most similar first, and how many there are."""
        found = self.rows("partners", document_id=document_id, limit=limit)
        rows = [Partner(*(row[name] for name in Partner._fields)) for row in found]
        return rows, found[0]["partners"] if found else 0

    def compared(self, document_id: str, other: str, max_chars: int) -> list[Piece]:
        """From one document's clean text to another's; layout does not count, as it does not for near-duplicates."""
        before, after = (" ".join(self.text(key, COMPARED_CHARS).split()) for key in (document_id, other))
        return difference(before, after, max_chars)

    def changed(self, document_id: str, max_chars: int) -> list[Piece]:
        """From a document's raw text to its clean one; blank space at the ends does not count."""
        raw = self.raw_text(document_id, COMPARED_CHARS)
        if raw is None:
            return []
        return difference(raw.strip(), self.text(document_id, COMPARED_CHARS).strip(), max_chars)


def fate_of(row: dict[str, Any]) -> Fate:
    return Fate(*(row[name] for name in Fate._fields))


@contextmanager
def opened(cleaning: Manifest, corpus: Manifest | None) -> Iterator[Audit]:
    """The cleaning's tables; its raw texts too if `corpus`, which it was made from, is still there."""
    with (
        tempfile.TemporaryDirectory(prefix="minimind-audit-") as spilled,
        duckdb.connect(
            ":memory:",
            config={
                "temp_directory": spilled,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        ) as connection,
    ):
        yield Audit(connection, cleaning, corpus)


def has_documents(manifest: Manifest) -> bool:
    """True if the build holds the tables that an audit reads."""
    return all(manifest.matching(table, ".parquet") for table in ("train", "holdout", "removed", "pairs"))


def parent_corpus(cleaning: Manifest) -> Manifest | None:
    """The corpus that a published cleaning was made from, beside it in its store; None if it was pruned."""
    fingerprint = cleaning.parents.get("corpus")
    return load_manifest(cleaning.path.parent.parent / "corpus" / fingerprint) if fingerprint else None
