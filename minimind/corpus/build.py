"""The door of the corpus stage: the sources of the config in, raw documents out."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from minimind.config import (
    BucketSource,
    CorpusConfig,
    GitSource,
    HttpSource,
    HuggingFaceSource,
    LocalFilesSource,
    Source,
)
from minimind.corpus.document import DocumentWriter
from minimind.corpus.download import Downloader
from minimind.corpus.gathering import Gathering
from minimind.corpus.progress import Progress
from minimind.corpus.sources.bucket import Bucket
from minimind.corpus.sources.git import Git
from minimind.corpus.sources.http import Http
from minimind.corpus.sources.huggingface import HuggingFace
from minimind.corpus.sources.local_files import LocalFiles
from minimind.corpus.sources.protocol import Reader
from minimind.corpus.sources.software_licences import SoftwareLicences
from minimind.masking import masked_tree
from minimind.store import Manifest, Outcome, Recipe, Store, disk_full_said, recipe

FORMAT_LIBRARIES = ("charset-normalizer", "lxml", "pypdfium2", "python-docx", "trafilatura")


@dataclass(frozen=True)
class CorpusInputs:
    refresh: bool = False  # ask every source anew, trusting nothing kept


def build(section: CorpusConfig, inputs: CorpusInputs, store: Store) -> Manifest:
    """Publishes `documents-*.parquet`, sorted by document_id, and `files.jsonl`.

    Raises SourceError, CorpusTooSmallError or DiskFullError.
    """
    with disk_full_said(store.root):
        downloader = Downloader(store, section)
        readers = {source.name: make_reader(source, section, store, downloader) for source in section.sources}
        probes: dict[str, str] = {}
        for reader in sorted(readers.values(), key=lambda reader: isinstance(reader, Http)):  # downloads come last
            probes |= reader.probe(inputs.refresh)
        made = recipe("corpus", masked_tree(section.model_dump(mode="json")), probes, libraries_of(section))
        again = inputs.refresh and is_outdated(made, readers, store)
        return store.build(made, lambda folder: write(folder, section, readers, store), refresh=again)


def make_reader(source: Source, section: CorpusConfig, store: Store, downloader: Downloader) -> Reader:
    match source:
        case LocalFilesSource():
            return LocalFiles(source, section)
        case HttpSource():
            return Http(source, section, store, downloader)
        case BucketSource():
            return Bucket(source, section, store)
        case GitSource():
            return Git(source, section, store)
        case HuggingFaceSource():
            return HuggingFace(source, store)
        case _:
            return SoftwareLicences(source, store)


def libraries_of(section: CorpusConfig) -> tuple[str, ...]:
    """What shapes the documents; the formats' libraries are not loaded before a file needs them."""
    hub = any(isinstance(source, HuggingFaceSource) for source in section.sources)
    files = any(
        isinstance(source, LocalFilesSource | HttpSource | BucketSource | GitSource) for source in section.sources
    )
    return ("pyarrow", *(("datasets",) if hub else ()), *(FORMAT_LIBRARIES if files else ()))


def is_outdated(made: Recipe, readers: dict[str, Reader], store: Store) -> bool:
    """True if there is a build of this recipe that was made from other bytes than the sources have now."""
    published = store.find("corpus", made.fingerprint)
    if published is None:
        return False
    recorded: dict[str, dict[str, str]] = {name: {} for name in readers}
    for line in published.file("files.jsonl").read_text().splitlines():
        file = json.loads(line)
        recorded[file["source"]][file["path"]] = file["sha256"]
    return not all(reader.is_unchanged(recorded[name]) for name, reader in readers.items())


def write(folder: Path, section: CorpusConfig, readers: dict[str, Reader], store: Store) -> Outcome:
    progress = Progress(store)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".spill-") as scratch:
        writer = DocumentWriter(folder, Path(scratch))
        gathering = Gathering(writer, progress, section.exclude_ids)
        for name, reader in readers.items():
            gathering.take(name, reader)
        gathering.check(section.max_unreadable_share)
        for written in writer.finish():
            if progress.due() or written == gathering.documents:
                progress.report(written, gathering.documents, "writing documents in order")
    lines = (json.dumps(file, ensure_ascii=False) + "\n" for file in gathering.files)
    (folder / "files.jsonl").write_text("".join(lines))
    return gathering.outcome()
