"""What every source gives to the stage: a cheap probe, and the items that reading it yields."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, NamedTuple, Protocol

from minimind.corpus.document import Document, DocumentBatch

Unit = Literal["line", "file", "member"]


class Unreadable(NamedTuple):
    """A line, a file or a member of an archive that cannot be read: counted, reported, and limited by the config."""

    path: str
    line: int | None  # 1 is the first; of Parquet, the row
    problem: str
    unit: Unit


class Skipped(NamedTuple):
    """Something that was found and is no text to read, such as a picture beside the documents; counted by reason."""

    path: str
    reason: str


class FileRead(NamedTuple):
    """One file read to its end, or as far as it goes; stands after the items that it gave."""

    path: str
    bytes: int
    sha256: str
    members: int  # read from it, if it is an archive
    version: Mapping[str, str] = {}  # what its server calls this version: etag, last_modified, commit


Item = Document | DocumentBatch | Unreadable | Skipped | FileRead


class Reader(Protocol):
    """A source of the config, ready to be probed and read."""

    def probe(self, refresh: bool) -> dict[str, str]:
        """What decides whether the source must be read again, by name; cheap. With `refresh`, nothing kept is trusted.

        Raises SourceError if the source is not there.
        """

    def is_unchanged(self, recorded: Mapping[str, str]) -> bool:
        """True if nothing a probe overlooks has changed since a build that recorded these path -> sha256."""

    def read(self) -> Iterator[Item]:
        """Everything in the source, in an order that depends on its content alone; raises SourceError."""

    def progress(self) -> tuple[float, float | None]:
        """What has been read and what there is, in bytes or documents; None: unknown."""


@dataclass
class Meter:
    """How far the reading of some files has come, in bytes on disk."""

    total: int = 0
    _finished: int = 0
    _position: int = 0
    _handle: BinaryIO | None = field(default=None, repr=False)

    def watch(self, handle: BinaryIO) -> None:
        self._handle = handle

    def finish(self, size: int) -> None:
        """Counts a whole file, of which `watch` had the handle if there was one."""
        self._finished += size
        self._position, self._handle = 0, None

    def progress(self) -> tuple[float, float | None]:
        if self._handle is not None and not self._handle.closed:
            self._position = self._handle.tell()
        return self._finished + self._position, self.total
