"""Files and archives by URL; read like local files once they are in the store's download folder."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from minimind.config import CorpusConfig, HttpFile, HttpSource
from minimind.corpus.answers import Validators
from minimind.corpus.download import Downloader
from minimind.corpus.files import FileOnDisk, read_file
from minimind.corpus.globs import MemberGlobs
from minimind.corpus.records import Place
from minimind.corpus.sources.protocol import Item, Meter
from minimind.errors import SourceError
from minimind.masking import masked
from minimind.store import Store


class Http:
    """A document's id is the member's path without the archive's single top folder, so that it outlives a snapshot.

    From JSON lines and Parquet it is the record's own id; of a text file, the last part of its URL.
    """

    def __init__(self, source: HttpSource, section: CorpusConfig, store: Store) -> None:
        check_urls(source)
        self._source = source
        self._section = section
        self._downloader = Downloader(store, section.max_download_bytes)
        self._current: dict[str, Validators] = {}
        self._meter = Meter()

    def probe(self, refresh: bool) -> dict[str, str]:
        """The checksum where the config pins one, without asking the server; else what the server says of the file.

        Of a server that says neither ETag nor Last-Modified, the file is downloaded, and its checksum is the probe.
        """
        return {f"{self._source.name}: {masked(file.url)}": self._state(file) for file in self._source.files}

    def _state(self, file: HttpFile) -> str:
        if file.sha256:
            return f"sha256 {file.sha256}"
        validators = self._downloader.ask(file.url)
        if validators.tell_versions:
            self._current[file.url] = validators
            return str(validators)
        downloaded = self._downloader.fetch(file.url, None, None)
        self._current[file.url] = downloaded.validators
        return f"sha256 {downloaded.sha256}"

    def is_unchanged(self, recorded: Mapping[str, str]) -> bool:
        return True

    def read(self) -> Iterator[Item]:
        members = MemberGlobs(self._source.members)
        archives = False
        for file in sorted(self._source.files, key=lambda file: file.url):
            downloaded = self._downloader.fetch(file.url, file.sha256, self._current.get(file.url))
            shown, name = masked(file.url), downloaded.path.name.partition("-")[2]
            self._meter.total += downloaded.path.stat().st_size
            archives |= name.lower().endswith((".zip", ".tar.gz"))
            yield from read_file(
                FileOnDisk(
                    path=downloaded.path,
                    place=Place(
                        source=self._source.name,
                        path=shown,
                        whole=name,
                        unit="file",
                        license=self._source.license,
                        metadata={"path": name, "origin": shown},
                    ),
                    member_prefix="",
                    members=members,
                    max_expanded_bytes=self._section.max_expanded_bytes,
                    meter=self._meter,
                )
            )
        if archives and members.unmatched:
            raise SourceError(
                f"source {self._source.name}: nothing in its archives matches {', '.join(members.unmatched)}; "
                "correct members (they are relative to the archive's single top folder, where it has one)"
            )

    def progress(self) -> tuple[float, float | None]:
        return self._meter.progress()


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
