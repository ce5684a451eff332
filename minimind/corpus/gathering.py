"""Everything that the sources yield: documents to the writer, the rest counted, and a verdict on what is missing."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from minimind.corpus.document import Document, DocumentBatch, DocumentWriter
from minimind.corpus.progress import Progress
from minimind.corpus.records import BETWEEN_REPAIRS, REPAIRED
from minimind.corpus.sources.protocol import FileRead, Reader, Skipped, Unit, Unreadable
from minimind.errors import CorpusTooSmallError, SourceError
from minimind.store import Outcome

logger = logging.getLogger(__name__)

LISTED_UNREADABLE = 100  # in the manifest
FEW_DOCUMENTS = 256  # of a batch; fewer are gathered with those of other files, or many small batches would be sorted
SHOWN_UNREADABLE = 5  # in a message
IN_WORDS: dict[Unit, str] = {"file": "files", "member": "members of archives", "line": "lines or documents"}


@dataclass
class SourceCounts:
    documents: int = 0
    bytes: int = 0
    excluded: int = 0
    licenses: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)  # documents, by what was done; some by two things


@dataclass
class FileCounts:
    """Of the file that is being read."""

    documents: int = 0  # that were kept
    licenses: set[str | None] = field(default_factory=set)
    readable_lines: int = 0  # documents, kept or not, and lines without a text
    unreadable_lines: int = 0
    is_lost: bool = False  # counted as an unreadable file already


class Gathering:
    """Takes every item of every source, writes the documents, and counts all that is not one."""

    def __init__(self, writer: DocumentWriter, progress: Progress, exclude_ids: Iterable[str] = ()) -> None:
        self._writer = writer
        self.files: list[dict[str, Any]] = []
        self._progress = progress
        self._sources: dict[str, SourceCounts] = {}
        self._unreadable: list[Unreadable] = []  # the first ones
        self._unreadable_units: Counter[Unit] = Counter()
        self._members = 0
        self._ids: set[bytes] = set()
        self._excluded = {digest_of(document_id): document_id for document_id in exclude_ids}
        self._found_excluded: set[bytes] = set()
        self._file = FileCounts()

    @property
    def documents(self) -> int:
        return sum(counts.documents for counts in self._sources.values())

    @property
    def excluded(self) -> int:
        return sum(counts.excluded for counts in self._sources.values())

    def take(self, name: str, reader: Reader) -> None:
        counts = self._sources[name] = SourceCounts()
        for item in reader.read():
            match item:
                case Document():
                    self._add(item, counts)
                case DocumentBatch():
                    self._add_batch(item, counts)
                case Unreadable():
                    self._count_unreadable(item)
                case Skipped():
                    counts.skipped[item.reason] += 1
                    self._file.readable_lines += 1
                case FileRead():
                    self._close_file(item, name)
            if self._progress.due():
                self._progress.report(*reader.progress(), f"{name}: {counts.documents:,} documents")

    def _add(self, document: Document, counts: SourceCounts) -> None:
        """Counts and writes the document; one whose id has been seen is unreadable, an excluded one is only counted."""
        digest = digest_of(document.document_id)
        self._file.readable_lines += 1
        if digest in self._excluded:
            self._found_excluded.add(digest)
            counts.excluded += 1
            return
        if digest in self._ids:
            where = document.metadata.get("path") or document.metadata.get("origin", document.source)
            problem = f"its id {document.document_id!r} stands in an earlier document; make ids unique in a source"
            self._count_unreadable(Unreadable(where, None, problem, "line"))
            return
        self._ids.add(digest)
        text_bytes = len(document.text.encode())
        counts.documents += 1
        counts.bytes += text_bytes
        counts.licenses[document.license or "not stated"] += 1
        if encoding := document.metadata.get("encoding"):
            counts.repaired[f"decoded as {encoding}"] += 1
        if repaired := document.metadata.get(REPAIRED):
            counts.repaired.update(repaired.split(BETWEEN_REPAIRS))
        self._file.documents += 1
        self._file.licenses.add(document.license)
        self._writer.add(document, text_bytes)

    def _add_batch(self, batch: DocumentBatch, counts: SourceCounts) -> None:
        """The like for documents that nothing has been done to."""
        digests = set(map(digest_of, batch.rows["document_id"].to_pylist()))
        one_by_one = not (self._ids.isdisjoint(digests) and digests.isdisjoint(self._excluded))
        if len(batch) < FEW_DOCUMENTS or len(digests) < len(batch) or one_by_one:
            for document in batch.documents():
                self._add(document, counts)
            return
        self._ids |= digests
        self._file.readable_lines += len(batch)
        text_bytes = pc.binary_length(batch.rows["text"]).to_numpy()
        licenses = Counter(batch.rows["license"].to_pylist())
        counts.documents += len(batch)
        counts.bytes += int(text_bytes.sum())
        for name, documents in licenses.items():
            counts.licenses[name or "not stated"] += documents
        self._file.documents += len(batch)
        self._file.licenses |= set(licenses)
        self._writer.add_batch(batch, text_bytes)

    def _count_unreadable(self, item: Unreadable) -> None:
        self._unreadable_units[item.unit] += 1
        self._file.unreadable_lines += item.unit == "line"
        self._file.is_lost |= item.unit == "file"
        if len(self._unreadable) < LISTED_UNREADABLE:
            self._unreadable.append(item)

    def _close_file(self, file: FileRead, source: str) -> None:
        """Notes the file, with its licence if all its documents have the same.

        One of many lines, none of which can be read, is lost as a file: as one line it would pass for next to nothing.
        """
        found = self._file
        if found.unreadable_lines and not (found.readable_lines or found.is_lost):
            lines = f"none of its lines or rows ({found.unreadable_lines:,}) can be read"
            self._count_unreadable(Unreadable(file.path, None, f"{lines}; is it in the format of its name?", "file"))
        shared = found.licenses.pop() if len(found.licenses) == 1 else None
        self.files.append(
            {
                "source": source,
                "path": file.path,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "documents": found.documents,
                "license": shared,
                **file.version,
            }
        )
        self._members += file.members
        self._file = FileCounts()

    # --- the verdict --------------------------------------------------------------------------------------------------

    def check(self, max_unreadable_share: float) -> None:
        """Raises SourceError if too much cannot be read, CorpusTooSmallError if a source gave nothing."""
        problems = [describe(item) for item in self._unreadable[:SHOWN_UNREADABLE]]
        count = self._unreadable_units.total()
        if count > len(problems):
            problems.append(f"and {count - len(problems):,} more")
        listed = "".join(f"\n  - {problem}" for problem in problems)
        for unit, total in self._totals():
            share = self._unreadable_units[unit] / total if total else 0.0
            if share > max_unreadable_share:
                raise SourceError(
                    f"{self._unreadable_units[unit]:,} of {total:,} {IN_WORDS[unit]} ({share:.2%}) cannot be read, and "
                    f"corpus.max_unreadable_share permits {max_unreadable_share:.2%}; mend them, or raise the "
                    f"share:{listed}"
                )
        for name, counts in self._sources.items():
            if not counts.documents:
                left_out = f" but {counts.excluded:,} of corpus.exclude_ids" if counts.excluded else ""
                raise CorpusTooSmallError(
                    f"source {name} gave no document{left_out}; give it files with text, or remove it from "
                    f"corpus.sources{listed}"
                )
        if count:
            logger.warning("corpus: %s cannot be read and %s left out:%s", count, "is" if count == 1 else "are", listed)
        if self._excluded:
            logger.info("corpus: %s of corpus.exclude_ids kept out", f"{self.excluded:,}")
        if missed := self._excluded_in_vain():
            logger.warning(
                "corpus: no document has the id %s of corpus.exclude_ids; ids are written in full, as source/id",
                ", ".join(map(repr, missed)),
            )
        for name, counts in self._sources.items():
            if counts.repaired:
                done = "; ".join(f"{what}: {documents:,}" for what, documents in sorted(counts.repaired.items()))
                logger.info("corpus: documents of %s were read in another way than they stand there (%s)", name, done)

    def _totals(self) -> list[tuple[Unit, int]]:
        """How many there were of each unit, apart, so that a lost archive does not pass for one line in a million."""
        return [
            ("file", len(self.files)),
            ("member", self._members),
            ("line", self.documents + self.excluded + self._unreadable_units["line"]),
        ]

    def _excluded_in_vain(self) -> list[str]:
        return sorted(name for digest, name in self._excluded.items() if digest not in self._found_excluded)

    def outcome(self) -> Outcome:
        counts = {
            "documents": self.documents,
            "bytes": sum(counts.bytes for counts in self._sources.values()),
            "files": len(self.files),
            "unreadable": self._unreadable_units.total(),
            "excluded": self.excluded,
        }
        details = {
            "sources": {
                name: {
                    "documents": counts.documents,
                    "bytes": counts.bytes,
                    "excluded": counts.excluded,
                    "licenses": dict(sorted(counts.licenses.items())),
                    "skipped": dict(sorted(counts.skipped.items())),
                    "repaired": dict(sorted(counts.repaired.items())),
                }
                for name, counts in self._sources.items()
            },
            "excluded_in_vain": self._excluded_in_vain(),
            "unreadable": [
                {"path": item.path, "line": item.line, "problem": item.problem} for item in self._unreadable
            ],
        }
        return Outcome(counts, details)


def digest_of(document_id: str) -> bytes:
    return hashlib.blake2b(document_id.encode(), digest_size=16).digest()


def describe(item: Unreadable) -> str:
    return f"{item.path}, line {item.line:,}: {item.problem}" if item.line else f"{item.path}: {item.problem}"
