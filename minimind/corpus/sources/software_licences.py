"""Licence texts that this machine already has, frozen in the store at first sight.

The texts themselves are kept: installing or removing a package later changes nothing until a refresh asks anew.
"""

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from minimind.config import SoftwareLicencesSource
from minimind.corpus.document import Document, parquet_writer, to_batch
from minimind.corpus.files import printable
from minimind.corpus.records import MAX_DOCUMENT_BYTES
from minimind.corpus.sources.protocol import FileRead, Item, Skipped
from minimind.digests import sha256_of_file, sha256_of_json
from minimind.errors import SourceError
from minimind.store import Store

NAME = re.compile(r"(?i)(licen[cs]e|copying|notice).*")
PROGRAMS = {".py", ".pyc", ".pyi", ".pyx", ".json", ".js", ".html", ".xml", ".h", ".c", ".so", ".toml", ".yaml", ".yml"}
COMMON_LICENSES = Path("/usr/share/common-licenses")
DEBIAN_DOCUMENTS = Path("/usr/share/doc")
BATCH_ROWS = 1024


class Candidate(NamedTuple):
    """A file that may be a licence text."""

    name: str  # its document id without the source's name
    path: Path
    shown: str  # the path without what differs between machines
    origin: str
    license: str | None


class SoftwareLicences:
    """Ids are `python/<distribution>/<file>`, `common-licenses/<name>` and `debian/<package>`."""

    def __init__(self, source: SoftwareLicencesSource, store: Store) -> None:
        self._source = source
        self._store = store
        key = sha256_of_json(source.model_dump(mode="json"))[:16]
        self._list = store.root / "frozen" / f"{source.name}-{key}.jsonl"
        self._done = 0
        self._total: int | None = None

    def probe(self, refresh: bool) -> dict[str, str]:
        """The hash of the frozen list, which is made if there is none; with `refresh` it is made anew."""
        with self._store.lock(f"frozen-{self._list.stem}"):
            if refresh or not self._list.exists():
                self._store.report("corpus", 0, None, "looking for licence texts on this machine")
                freeze(collect(self._source.name), self._list)
        return {f"{self._source.name}: frozen list": sha256_of_file(self._list)}

    def is_unchanged(self, recorded: Mapping[str, str]) -> bool:
        return True

    def read(self) -> Iterator[Item]:
        """The frozen texts; raises SourceError if they are not those that the list names."""
        texts, *lines = [json.loads(line) for line in self._list.read_text().splitlines()]
        path = self._list.with_name(texts["texts"])
        if not path.is_file() or sha256_of_file(path) != texts["sha256"]:
            raise SourceError(
                f"source {self._source.name}: {path}, which keeps the texts found earlier, is gone or has changed; "
                "run once with --refresh to collect them anew from this machine"
            )
        yield from (Skipped(line["path"], line["skipped"]) for line in lines if "skipped" in line)
        entries = [line for line in lines if "skipped" not in line]
        self._total = len(entries)
        for entry, document in zip(entries, read_documents(path), strict=True):
            yield document
            yield FileRead(entry["path"], entry["bytes"], entry["sha256"], 0)
            self._done += 1

    def progress(self) -> tuple[float, float | None]:
        return self._done, self._total


# --- freezing ---------------------------------------------------------------------------------------------------------


def freeze(items: list[tuple[Candidate, bytes, Document | Skipped]], path: Path) -> None:
    """Writes the list to `path` and the texts beside it; leaves both alone if nothing is new. Never half of it."""
    documents = [item for _, _, item in items if isinstance(item, Document)]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.stem}.new")
    with parquet_writer(beside) as writer:
        for start in range(0, len(documents), BATCH_ROWS):
            writer.write_batch(to_batch(documents[start : start + BATCH_ROWS]))
    digest = sha256_of_file(beside)
    texts = path.with_name(f"{path.stem}-{digest[:16]}.parquet")
    beside.replace(texts)
    lines = [{"texts": texts.name, "sha256": digest}, *(line_of(*item) for item in items)]
    beside.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    beside.replace(path)
    for outdated in set(path.parent.glob(f"{path.stem}-*.parquet")) - {texts}:
        outdated.unlink()


def line_of(candidate: Candidate, content: bytes, item: Document | Skipped) -> dict[str, Any]:
    if isinstance(item, Skipped):
        return {"path": item.path, "skipped": item.reason}
    digest = hashlib.sha256(content).hexdigest()
    return {
        "document_id": item.document_id,
        "path": printable(str(candidate.path)),
        "bytes": len(content),
        "sha256": digest,
    }


def read_documents(path: Path) -> Iterator[Document]:
    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=BATCH_ROWS):
            yield from (Document(**{**row, "metadata": dict(row["metadata"])}) for row in batch.to_pylist())


# --- what the machine has ---------------------------------------------------------------------------------------------


def collect(source: str) -> list[tuple[Candidate, bytes, Document | Skipped]]:
    """Every licence text on this machine, by document id, with the file's bytes; what is no text is Skipped."""
    candidates = {candidate.name: candidate for candidate in reversed(find_candidates())}  # the first of a name stays
    items: list[tuple[Candidate, bytes, Document | Skipped]] = []
    for _, candidate in sorted(candidates.items()):
        try:
            content = candidate.path.read_bytes()
        except OSError as error:
            items.append((candidate, b"", skipped(candidate, f"not readable: {error.strerror}")))
            continue
        items.append((candidate, content, licence_document(candidate, content, source)))
    return items


def find_candidates() -> list[Candidate]:
    return [*python_candidates(), *common_candidates(), *debian_candidates()]


def licence_document(candidate: Candidate, content: bytes, source: str) -> Document | Skipped:
    """The document; bytes that are no UTF-8 are read as Latin-1, as old licence texts are, and its metadata says so."""
    metadata = {"path": candidate.shown, "origin": candidate.origin}
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
        metadata["encoding"] = "latin-1"
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        return skipped(candidate, "too long for a licence text")
    if not text.strip():
        return skipped(candidate, "empty licence file")
    return Document(f"{source}/{candidate.name}", text, source, None, candidate.license, metadata)


def skipped(candidate: Candidate, reason: str) -> Skipped:
    return Skipped(printable(str(candidate.path)), reason)


def python_candidates() -> Iterator[Candidate]:
    """Licence files of the installed distributions, in the order in which Python finds them."""
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", declared(distribution, "Name") or "unnamed").lower()
        for file in distribution.files or []:
            if not is_licence_name(file.name):
                continue
            path = Path(str(distribution.locate_file(file)))
            if path.is_file():
                parts = [part for part in file.parts if part != ".." and not part.endswith((".dist-info", ".egg-info"))]
                yield Candidate(
                    name="/".join(["python", name, *parts]),
                    path=path,
                    shown=file.as_posix(),
                    origin=f"{name} {distribution.version}",
                    license=license_of(distribution),
                )


def is_licence_name(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and Path(name).suffix.lower() not in PROGRAMS


def license_of(distribution: importlib.metadata.Distribution) -> str | None:
    """The licence that the distribution declares, if it does so in a few words."""
    for key in ("License-Expression", "License"):
        name = declared(distribution, key)
        if name and name != "UNKNOWN" and "\n" not in name and len(name) <= 80:
            return name
    return None


def declared(distribution: importlib.metadata.Distribution, key: str) -> str:
    metadata = distribution.metadata
    return metadata[key].strip() if key in metadata else ""


def common_candidates() -> Iterator[Candidate]:
    for path in sorted(real_files(COMMON_LICENSES, COMMON_LICENSES.glob("*"))):
        yield Candidate(f"common-licenses/{path.name}", path, path.name, "common-licenses", None)


def debian_candidates() -> Iterator[Candidate]:
    for path in sorted(real_files(DEBIAN_DOCUMENTS, DEBIAN_DOCUMENTS.glob("*/copyright"))):
        package = path.parent.name
        yield Candidate(f"debian/{package}", path, f"{package}/copyright", f"debian package {package}", None)


def real_files(root: Path, paths: Iterator[Path]) -> set[Path]:
    """What the paths are or link to, each file once; links that leave `root` are not followed."""
    real = {path.resolve() for path in paths}
    return {path for path in real if path.is_file() and path.is_relative_to(root.resolve())}
