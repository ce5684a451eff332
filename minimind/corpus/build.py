"""The door of the corpus stage: the sources of the config in, raw documents out."""

import hashlib
import json
import logging
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minimind.config import (
    CorpusConfig,
    HttpSource,
    HuggingFaceSource,
    LocalFilesSource,
    Source,
)
from minimind.corpus.document import Document, DocumentWriter
from minimind.corpus.progress import Progress
from minimind.corpus.sources.http import Http
from minimind.corpus.sources.huggingface import HuggingFace
from minimind.corpus.sources.local_files import LocalFiles
from minimind.corpus.sources.protocol import FileRead, Reader, Skipped, Unit, Unreadable, mask_url
from minimind.corpus.sources.software_licences import SoftwareLicences
from minimind.errors import CorpusTooSmallError, SourceError
from minimind.store import Manifest, Outcome, Recipe, Store, disk_full_said, recipe

logger = logging.getLogger(__name__)

LISTED_UNREADABLE = 100  # in the manifest
SHOWN_UNREADABLE = 5  # in a message
IN_WORDS: dict[Unit, str] = {"file": "files", "member": "members of archives", "line": "lines or documents"}


@dataclass(frozen=True)
class CorpusInputs:
    refresh: bool = False  # ask every source anew, trusting nothing kept


def build(section: CorpusConfig, inputs: CorpusInputs, store: Store) -> Manifest:
    """Publishes `documents-*.parquet`, sorted by document_id, and `files.jsonl`.

    Raises SourceError, CorpusTooSmallError or DiskFullError.
    """
    with disk_full_said(store.root):
        readers = {source.name: make_reader(source, section, store) for source in section.sources}
        probes: dict[str, str] = {}
        for reader in readers.values():
            probes |= reader.probe(inputs.refresh)
        made = recipe("corpus", masked(section), probes, libraries_of(section))
        again = inputs.refresh and not is_current(made, readers, store)
        return store.build(made, lambda folder: write(folder, section, readers, store), refresh=again)


def make_reader(source: Source, section: CorpusConfig, store: Store) -> Reader:
    match source:
        case LocalFilesSource():
            return LocalFiles(source, section)
        case HttpSource():
            return Http(source, section, store)
        case HuggingFaceSource():
            return HuggingFace(source)
        case _:
            return SoftwareLicences(source, store)


def masked(section: CorpusConfig) -> dict[str, Any]:
    """The section without the secrets that a URL may hold: what the manifest keeps."""
    config = section.model_dump(mode="json")
    for source in config["sources"]:
        for file in source.get("files", []):
            file["url"] = mask_url(file["url"])
    return config


def libraries_of(section: CorpusConfig) -> tuple[str, ...]:
    hub = any(isinstance(source, HuggingFaceSource) for source in section.sources)
    return ("pyarrow", "datasets") if hub else ("pyarrow",)


def is_current(made: Recipe, readers: dict[str, Reader], store: Store) -> bool:
    """True if the published build of this recipe was made from the very bytes that the sources have now."""
    published = store.find("corpus", made.fingerprint)
    if published is None:
        return True
    recorded: dict[str, dict[str, str]] = {name: {} for name in readers}
    for line in published.file("files.jsonl").read_text().splitlines():
        file = json.loads(line)
        recorded[file["source"]][file["path"]] = file["sha256"]
    return all(reader.is_unchanged(recorded[name]) for name, reader in readers.items())


def write(folder: Path, section: CorpusConfig, readers: dict[str, Reader], store: Store) -> Outcome:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".spill-") as scratch:
        gathering = Gathering(DocumentWriter(folder, Path(scratch)), Progress(store))
        for name, reader in readers.items():
            gathering.take(name, reader)
        gathering.check(section.max_unreadable_share)
        store.report("corpus", 0, None, f"sorting {gathering.documents:,} documents")
        gathering.writer.finish()
    lines = (json.dumps(file, ensure_ascii=False) + "\n" for file in gathering.files)
    (folder / "files.jsonl").write_text("".join(lines))
    return gathering.outcome()


@dataclass
class SourceCounts:
    documents: int = 0
    bytes: int = 0
    licenses: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


class Gathering:
    """Takes every item of every source, writes the documents, and counts all that is not one."""

    def __init__(self, writer: DocumentWriter, progress: Progress) -> None:
        self.writer = writer
        self.files: list[dict[str, Any]] = []
        self._progress = progress
        self._sources: dict[str, SourceCounts] = {}
        self._unreadable: list[Unreadable] = []  # the first ones
        self._unreadable_units: Counter[Unit] = Counter()
        self._members = 0
        self._ids: set[bytes] = set()
        self._file_documents = 0
        self._file_licenses: set[str | None] = set()

    @property
    def documents(self) -> int:
        return sum(counts.documents for counts in self._sources.values())

    def take(self, name: str, reader: Reader) -> None:
        counts = self._sources[name] = SourceCounts()
        for item in reader.read():
            match item:
                case Document():
                    self._add(item, counts)
                case Unreadable():
                    self._count_unreadable(item)
                case Skipped():
                    counts.skipped[item.reason] += 1
                case FileRead():
                    self._close_file(item, name)
            if self._progress.due():
                self._progress.report(*reader.progress(), f"{name}: {counts.documents:,} documents")

    def _add(self, document: Document, counts: SourceCounts) -> None:
        """Counts and writes the document; one whose id has been seen is unreadable."""
        digest = hashlib.blake2b(document.document_id.encode(), digest_size=16).digest()
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
        self._file_documents += 1
        self._file_licenses.add(document.license)
        self.writer.add(document, text_bytes)

    def _count_unreadable(self, item: Unreadable) -> None:
        self._unreadable_units[item.unit] += 1
        if len(self._unreadable) < LISTED_UNREADABLE:
            self._unreadable.append(item)

    def _close_file(self, file: FileRead, source: str) -> None:
        """Notes the file, with its licence if all its documents have the same."""
        shared = self._file_licenses.pop() if len(self._file_licenses) == 1 else None
        self.files.append(
            {
                "source": source,
                "path": file.path,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "documents": self._file_documents,
                "license": shared,
            }
        )
        self._members += file.members
        self._file_documents, self._file_licenses = 0, set()

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
                raise CorpusTooSmallError(
                    f"source {name} gave no document; give it files with text, or remove it from corpus.sources{listed}"
                )
        if count:
            logger.warning("corpus: %s cannot be read and %s left out:%s", count, "is" if count == 1 else "are", listed)

    def _totals(self) -> list[tuple[Unit, int]]:
        """How many there were of each unit, apart, so that a lost archive does not pass for one line in a million."""
        return [
            ("file", len(self.files)),
            ("member", self._members),
            ("line", self.documents + self._unreadable_units["line"]),
        ]

    def outcome(self) -> Outcome:
        counts = {
            "documents": self.documents,
            "bytes": sum(counts.bytes for counts in self._sources.values()),
            "files": len(self.files),
            "unreadable": self._unreadable_units.total(),
        }
        details = {
            "sources": {
                name: {
                    "documents": counts.documents,
                    "bytes": counts.bytes,
                    "licenses": dict(sorted(counts.licenses.items())),
                    "skipped": dict(sorted(counts.skipped.items())),
                }
                for name, counts in self._sources.items()
            },
            "unreadable": [
                {"path": item.path, "line": item.line, "problem": item.problem} for item in self._unreadable
            ],
        }
        return Outcome(counts, details)


def describe(item: Unreadable) -> str:
    return f"{item.path}, line {item.line:,}: {item.problem}" if item.line else f"{item.path}: {item.problem}"
