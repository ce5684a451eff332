"""The files of a git repository at one commit; read like the members of an archive."""

import io
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from minimind.config import CorpusConfig, GitSource
from minimind.corpus.document import Document
from minimind.corpus.files import FileOnDisk, printable, read_file
from minimind.corpus.git import COMMIT, Repository
from minimind.corpus.globs import MemberGlobs
from minimind.corpus.kept import DownloadFolder
from minimind.corpus.records import Place
from minimind.corpus.sources.protocol import FileRead, Item, Meter, Skipped
from minimind.errors import SourceError
from minimind.store import GIT_SCRATCH, Store

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\n"


class Git:
    """A document's id is its path in the repository, or the record's own id in JSON lines and Parquet."""

    def __init__(self, source: GitSource, section: CorpusConfig, store: Store) -> None:
        self._source = source
        self._section = section
        self._store = store
        self._repository = Repository(source.url, store, section.max_download_bytes, section.max_expanded_bytes)
        self._commit = ""
        self._meter = Meter()

    def probe(self, refresh: bool) -> dict[str, str]:
        """The commit that ref stands for now; a ref that is a commit is not asked for."""
        ref = self._source.ref
        self._commit = ref if COMMIT.fullmatch(ref) else self._repository.commit_of(ref)
        return {f"{self._source.name}: {self._repository.shown}": f"commit {self._commit}"}

    def is_unchanged(self, recorded: Mapping[str, str]) -> bool:
        return True

    def read(self) -> Iterator[Item]:
        members = MemberGlobs(self._source.members)
        shown = f"{self._repository.shown}@{self._commit}"
        folder = DownloadFolder(self._store).path
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=GIT_SCRATCH) as scratch:
            path = Path(scratch) / "repository.tar.gz"
            for other in self._repository.archive(self._commit, self._source.ref, path):
                yield Skipped(f"{shown}: {printable(other.path)}", f"{other.kind} inside a repository")
            self._meter.total = path.stat().st_size
            for item in read_file(
                FileOnDisk(
                    path=path,
                    place=Place(
                        source=self._source.name,
                        path=shown,
                        whole="",
                        unit="file",
                        license=self._source.license,
                        metadata={"path": "", "origin": shown},
                    ),
                    member_prefix="",
                    members=members,
                    max_expanded_bytes=self._section.max_expanded_bytes,
                    meter=self._meter,
                    left_out=pointer_to_lfs,
                )
            ):
                yield self._noted(item, shown)
        if members.unmatched:
            raise SourceError(
                f"source {self._source.name}: nothing in the repository matches {', '.join(members.unmatched)}; "
                "correct members"
            )

    def _noted(self, item: Item, shown: str) -> Item:
        """The item with its place in the repository."""
        if isinstance(item, FileRead):
            return item._replace(version={"commit": self._commit})
        if not isinstance(item, Document):
            return item
        path = item.metadata["path"]
        origin = f"{shown}:{path}" if item.metadata["origin"] == shown else item.metadata["origin"]
        return replace(item, metadata={**item.metadata, "origin": origin})

    def progress(self) -> tuple[float, float | None]:
        return self._meter.progress()


def pointer_to_lfs(stream: BinaryIO) -> str | None:
    """The reason to skip a pointer to a large file that is kept elsewhere, whatever its suffix says."""
    begins = cast(io.BufferedReader, stream).peek(len(LFS_POINTER))
    return "pointer to a file in Git LFS" if begins.startswith(LFS_POINTER) else None
