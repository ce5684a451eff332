"""The door of the corpus stage: the sources of the config in, raw documents out."""

import json
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minimind.config import (
    BucketSource,
    CorpusConfig,
    GitSource,
    HttpSource,
    HuggingFaceSource,
    LocalFilesSource,
)
from minimind.corpus.document import DocumentWriter
from minimind.corpus.gathering import Gathering
from minimind.corpus.progress import Progress
from minimind.corpus.sources.local_files import LocalFiles
from minimind.corpus.sources.protocol import Reader
from minimind.masking import masked_tree
from minimind.parts import IN_TURN, Workers
from minimind.store import Manifest, Outcome, Recipe, Store, disk_full_said, recipe

FORMAT_LIBRARIES = ("charset-normalizer", "lxml", "pypdfium2", "python-docx", "trafilatura")


@dataclass(frozen=True)
class CorpusInputs:
    refresh: bool = False  # ask every source anew, trusting nothing kept
    beside: Callable[[], object] | None = None  # called in a thread while sources are read, such as to load libraries
    workers: Workers = IN_TURN  # fetch what is downloaded


def build(section: CorpusConfig, inputs: CorpusInputs, store: Store) -> Manifest:
    """Publishes `documents-*.parquet`, sorted by document_id, and `files.jsonl`.

    Raises SourceError, CorpusTooSmallError or DiskFullError.
    """
    with disk_full_said(store.root):
        readers = make_readers(section, store, inputs.workers)
        probes: dict[str, str] = {}
        for source in sorted(section.sources, key=lambda source: isinstance(source, HttpSource)):  # downloads come last
            probes |= readers[source.name].probe(inputs.refresh)
        made = recipe("corpus", masked_tree(section.model_dump(mode="json")), probes, libraries_of(section))
        again = inputs.refresh and is_outdated(made, readers, store)

        def build_beside(folder: Path) -> Outcome:
            with ThreadPoolExecutor(1, "beside") as thread:
                if inputs.beside:
                    thread.submit(inputs.beside)
                return write(folder, section, readers, store)

        return store.build(made, build_beside, refresh=again)


def make_readers(section: CorpusConfig, store: Store, workers: Workers) -> dict[str, Reader]:
    """By the sources' names. A kind of source is imported where there is one: what speaks to servers takes time."""
    readers: dict[str, Reader] = {}
    if any(isinstance(source, HttpSource) for source in section.sources):
        from minimind.corpus.download import Downloader
        from minimind.corpus.sources.http import Http

        downloader = Downloader(store, section, workers)
    for source in section.sources:
        match source:
            case LocalFilesSource():
                readers[source.name] = LocalFiles(source, section)
            case HttpSource():
                readers[source.name] = Http(source, section, store, downloader)
            case BucketSource():
                from minimind.corpus.sources.bucket import Bucket

                readers[source.name] = Bucket(source, section, store, workers)
            case GitSource():
                from minimind.corpus.sources.git import Git

                readers[source.name] = Git(source, section, store)
            case HuggingFaceSource():
                from minimind.corpus.sources.huggingface import HuggingFace

                readers[source.name] = HuggingFace(source, store)
            case _:
                from minimind.corpus.sources.software_licences import SoftwareLicences

                readers[source.name] = SoftwareLicences(source, store)
    return readers


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
    progress = Progress(partial(store.report, "corpus"))
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
