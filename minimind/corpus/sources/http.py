"""Files and archives by URL; read like local files once they are in the store's download folder."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from minimind.config import CorpusConfig, HttpSource
from minimind.corpus.download import Downloader, Wanted
from minimind.corpus.files import FileOnDisk, read_file
from minimind.corpus.globs import MemberGlobs
from minimind.corpus.kept import Kept
from minimind.corpus.records import Place
from minimind.corpus.sources.protocol import FileRead, Item, Meter
from minimind.errors import SourceError
from minimind.masking import masked
from minimind.store import Store


class Http:
    """A document's id is the member's path without the archive's single top folder, so that it outlives a snapshot.

    From JSON lines and Parquet it is the record's own id; of a text file, the last part of its URL.
    """

    def __init__(self, source: HttpSource, section: CorpusConfig, store: Store, downloader: Downloader) -> None:
        check_urls(source)
        self._source = source
        self._section = section
        self._store = store
        self._downloader = downloader
        self._wanted: list[Wanted] = []
        self._meter = Meter()

    def probe(self, refresh: bool) -> dict[str, str]:
        """The checksum of every file: the one that the config pins, or that of the bytes that the server has now.

        For those its answer to one conditional request decides; what is new is downloaded at once, so that what is
        read later is what was probed.
        """
        files = sorted(self._source.files, key=lambda file: file.url)
        asked = [Wanted(file.url) for file in files if not file.sha256]
        current = {file.url: kept.sha256 for file, kept in zip(asked, self._downloader.fetch(asked), strict=True)}
        self._wanted = [Wanted(file.url, file.sha256 or current[file.url], bool(file.sha256)) for file in files]
        return {f"{self._source.name}: {masked(file.url)}": f"sha256 {file.sha256}" for file in self._wanted}

    def is_unchanged(self, recorded: Mapping[str, str]) -> bool:
        return True

    def read(self) -> Iterator[Item]:
        members = MemberGlobs(self._source.members)
        downloads = self._downloader.fetch(self._wanted)
        self._meter.total = sum(kept.path.stat().st_size for kept in downloads)
        for file, kept in zip(self._wanted, downloads, strict=True):
            name = kept.path.name.partition("-")[2]
            yield from self._read_file(masked(file.url), name, kept, members)
        if members.unmatched:
            raise SourceError(
                f"source {self._source.name}: nothing in its archives matches {', '.join(members.unmatched)}; "
                "correct members (they are relative to the archive's single top folder, where it has one)"
            )

    def _read_file(self, shown: str, name: str, kept: Kept, members: MemberGlobs) -> Iterator[Item]:
        place = Place(
            source=self._source.name,
            path=shown,
            whole=name,
            unit="file",
            license=self._source.license,
            metadata={"path": name, "origin": shown},
        )
        file = FileOnDisk(kept.path, place, "", members, self._section.max_expanded_bytes, self._meter)
        yield from checked_and_noted(read_file(file), shown, kept)

    def progress(self) -> tuple[float, float | None]:
        return self._meter.progress()


def checked_and_noted(items: Iterator[Item], shown: str, kept: Kept) -> Iterator[Item]:
    """The items; FileRead with the server's word on the version. Raises SourceError if other bytes were read."""
    for item in items:
        if isinstance(item, FileRead):
            if item.sha256 != kept.sha256:
                raise SourceError(f"{shown}: another run has replaced the download while it was read; run again")
            said = {name: str(value) for name, value in kept.version.items() if name != "length" and value}
            item = item._replace(version=said)
        yield item


def check_urls(source: HttpSource) -> None:
    """Raises SourceError for what is no URL; names its position, for a URL that cannot be read cannot be masked."""
    for position, file in enumerate(source.files):
        try:
            parts = urlsplit(file.url)
            valid = bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise SourceError(f"source {source.name}: files.{position}.url is no valid URL; correct it")
