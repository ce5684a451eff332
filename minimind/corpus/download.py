"""Downloads by HTTP: asked for with the version that is kept, limited, resumed, retried, and checked."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from urllib.parse import unquote, urlsplit

import httpx

from minimind.config import CorpusConfig
from minimind.corpus import retries
from minimind.corpus.answers import (
    RangeError,
    RetryableError,
    Validators,
    check_content_type,
    check_range,
    check_status,
    content_length,
    is_encoded,
    is_unchanged,
    key_of,
    looks_like_a_page,
    name_of,
    page_instead_of_data,
    sent_more,
    validators_of,
    without_user,
)
from minimind.corpus.kept import DownloadFolder, Kept, read_record, write_record
from minimind.corpus.parallel import DownloadPart, Pace, Transfers, download, in_parallel, quiet_libraries
from minimind.digests import sha256_of_file
from minimind.errors import SourceError
from minimind.masking import masked, with_variables
from minimind.parts import IN_TURN, Report, Workers
from minimind.store import Store

WATCHED_SECONDS = 60.0
MIN_WATCHED_BYTES = 10_000  # received in that time; a server that sends less is taken for stalled
MAX_REDIRECTS = 10


@dataclass(frozen=True)
class Wanted:
    """A file by its URL, and by its bytes where these are known."""

    url: str
    sha256: str | None = None
    pinned: bool = False  # the config names the checksum, not an earlier answer


class Downloader:
    """Fetches URLs into the download folder, several at once."""

    def __init__(self, store: Store, section: CorpusConfig, workers: Workers = IN_TURN) -> None:
        self._store = store
        self._section = section
        self._pace = Pace(section.requests_per_second)
        self._workers = workers

    def fetch(self, files: Sequence[Wanted]) -> list[Kept]:
        """The files in their order; raises SourceError.

        One with a checksum is asked for only if its bytes are not here. Of others the server is asked whether it has
        a newer version than the one kept; the file of a version that has not changed may be gone from the disk.
        """
        workers = self._workers if any(map(self._is_new, files)) else IN_TURN  # to ask about some files needs nobody
        return download(fetch_part, files, self._section, self._pace, self._store, workers)

    def _is_new(self, file: Wanted) -> bool:
        kept = DownloadFolder(self._store).find(key_of(file.url))
        return kept is None or file.sha256 not in (None, kept.sha256)


def fetch_part(part: DownloadPart[Wanted], report: Report) -> list[Kept]:
    with quiet_libraries(), open_client() as client:
        return in_parallel([partial(fetch_one, part, client, file) for file in part.files], part.threads, report)


def fetch_one(part: DownloadPart[Wanted], client: httpx.Client, file: Wanted, transfers: Transfers) -> Kept:
    key = key_of(file.url)
    with part.store.lock(f"download-{key}"):
        kept = DownloadFolder(part.store).find(key)
        if file.sha256 and kept is not None and kept.sha256 == file.sha256 and kept.is_whole():
            return kept
        fetched = Download(part, client, file, None if file.sha256 else kept, transfers).run()
        if fetched is not None:
            return fetched
        assert kept is not None, "only a file that is kept can be unchanged"
        return kept


class Download:
    """One file on its way into the download folder."""

    def __init__(
        self,
        part: DownloadPart[Wanted],
        client: httpx.Client,
        file: Wanted,
        kept: Kept | None,
        transfers: Transfers,
    ) -> None:
        self._folder, self._pace, self._max_bytes = DownloadFolder(part.store), part.pace, part.max_bytes
        self._client = client
        self._file = file
        self._shown = masked(file.url)
        self._kept = None if kept is None else Validators(**kept.version)
        self._part = self._folder.part(key_of(file.url))
        self._begun_record = self._part.with_suffix(".part.json")
        self._transfers = transfers
        self._announced = False

    def run(self) -> Kept | None:
        """The file once it is here; None if the server has no other version than the one kept."""
        found = retries.with_retries(self._shown, self._transfer, self._transfers, self._arrived)
        if found is None:
            return None
        name, validators = found
        self._check_bytes(name)
        return self._folder.keep(key_of(self._file.url), self._part, name, self._file.url, asdict(validators))

    def _arrived(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _transfer(self) -> tuple[str, Validators] | None:
        """One try: continues the partial file where the server still has that version, else begins anew."""
        begun = Validators(**(read_record(self._begun_record) or {}))
        offset = self._arrived()
        with self._ask(begun, offset) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._drop_part()
                raise RetryableError("it answered that the partial download does not fit")
            validators = validators_of(response)
            if self._kept is not None and is_unchanged(response, validators, self._kept):
                return None
            check_status(response, self._file.url)
            name = name_of(self._file.url, response)
            try:
                if response.status_code == httpx.codes.PARTIAL_CONTENT:
                    check_range(response, offset, begun)
                    validators = begun
                else:
                    offset = 0
                if not self._file.pinned:
                    check_content_type(response, self._file.url, name)
                write_record(self._begun_record, {} if is_encoded(response) else asdict(validators))
                self._receive(response, offset)
            except (SourceError, RangeError):
                self._drop_part()
                raise
            self._begun_record.unlink()
            return name, validators

    @contextmanager
    def _ask(self, begun: Validators, offset: int) -> Iterator[httpx.Response]:
        secret = with_variables(self._file.url)
        url = without_user(secret)
        headers = {} if self._kept is None else self._kept.for_asking()
        if offset and begun.for_resuming:
            headers |= {"Range": f"bytes={offset}-", "If-Range": begun.for_resuming}
        extensions = {"before": self._before_request}
        auth = login_of(secret)
        with self._client.stream("GET", url, headers=headers, auth=auth, extensions=extensions) as response:
            yield response

    def _before_request(self, request: httpx.Request) -> None:
        """Waits for its turn; of redirects too, which do not lead from https to http."""
        if request.url.scheme != "https" and self._file.url.startswith("https:"):
            raise SourceError(
                f"{self._shown} is redirected to {request.url.host} without encryption; use the address that you trust"
            )
        self._pace.wait(request.url.host, self._transfers)

    def _receive(self, response: httpx.Response, offset: int) -> None:
        length = content_length(response)
        total = None if length is None else offset + length
        self._check_size(total or 0)
        if not self._announced:
            self._transfers.announce(length)
            self._announced = True
        done, watched, watched_since = offset, offset, time.monotonic()
        with self._part.open("ab" if offset else "wb") as handle:
            for block in response.iter_bytes() if is_encoded(response) else response.iter_raw():
                done += len(block)
                self._check_size(done)
                handle.write(block)
                self._transfers.add(len(block))
                if done == total and sent_more(response):
                    raise RangeError(f"it sent more than the {total:,} bytes that it announced")
                if (now := time.monotonic()) - watched_since > WATCHED_SECONDS:
                    if done - watched < MIN_WATCHED_BYTES:
                        raise RetryableError(f"it sent only {done - watched:,} bytes in {WATCHED_SECONDS:g} s")
                    watched, watched_since = done, now

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise SourceError(
                f"{self._shown} has {size:,} bytes or more, and corpus.max_download_bytes permits "
                f"{self._max_bytes:,}; raise it if you want this file"
            )

    def _check_bytes(self, name: str) -> None:
        """Raises SourceError, and keeps nothing, if these are other bytes than were wanted, or a web page."""
        found = sha256_of_file(self._part)
        if self._file.sha256 not in (None, found):
            self._drop_part()
            raise SourceError(
                f"{self._shown} has the sha256 {found}, and {self._file.sha256} was expected; "
                + (
                    "either the download is not what you meant, or its checksum in corpus.sources is out of date"
                    if self._file.pinned
                    else "it has just been replaced on the server: run again"
                )
            )
        if not self._file.pinned and looks_like_a_page(self._part, name):
            self._drop_part()
            raise page_instead_of_data(self._file.url)

    def _drop_part(self) -> None:
        self._part.unlink(missing_ok=True)
        self._begun_record.unlink(missing_ok=True)


def open_client() -> httpx.Client:
    """A client that asks for the bytes of the files as they are, so that they can be counted and resumed."""

    def before(request: httpx.Request) -> None:
        request.extensions["before"](request)

    return httpx.Client(
        headers={"Accept-Encoding": "identity"},
        timeout=retries.TIMEOUT_SECONDS,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        event_hooks={"request": [before]},
    )


def login_of(url: str) -> httpx.BasicAuth | None:
    """The URL's user and password, if it has them; sent to its host alone."""
    parts = urlsplit(url)
    return (
        httpx.BasicAuth(unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None
    )
