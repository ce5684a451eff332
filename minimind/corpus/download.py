"""Downloads into the store: limited, resumed, retried, checked, and kept until the server has something newer."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpx

from minimind.corpus.answers import (
    RetryableError,
    Validators,
    check_status,
    content_length,
    continues_at,
    is_encoded,
    key_of,
    name_of,
    validators_of,
    without_user,
)
from minimind.corpus.progress import Progress
from minimind.errors import SourceError
from minimind.masking import masked
from minimind.store import Store, sha256_of_file

logger = logging.getLogger(__name__)

RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0)  # seconds between tries
TIMEOUT_SECONDS = 30.0  # without a byte
BLOCK_BYTES = 1 << 18
Result = TypeVar("Result")


@dataclass(frozen=True)
class Downloaded:
    """A file in the store's download folder."""

    path: Path
    sha256: str
    validators: Validators


class Downloader:
    """Fetches URLs into `<store.root>/downloads`."""

    def __init__(self, store: Store, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._folder = store.root / "downloads"

    def ask(self, url: str) -> Validators:
        """The validators of what the server has now; raises SourceError."""

        def once(client: httpx.Client) -> Validators:
            response = client.head(without_user(url))
            if response.is_success:
                return validators_of(response)
            with client.stream("GET", without_user(url)) as response:  # some servers do not answer HEAD
                check_status(response, url)
                return validators_of(response)

        return self._with_retries(url, once)

    def fetch(self, url: str, sha256: str | None, current: Validators | None) -> Downloaded:
        """The file: the one kept from earlier if it is still the right version, else downloaded.

        Right is one with the expected sha256, or without one, the current validators. Raises SourceError.
        """
        with self._store.lock(f"download-{key_of(url)}"):
            kept = self._kept(url)
            if kept is not None:
                expected = (
                    kept.sha256 == sha256 if sha256 else current is not None and current.same_version(kept.validators)
                )
                if expected and sha256_of_file(kept.path) == kept.sha256:
                    return kept
            return self._download(url, sha256)

    # --- what is kept -------------------------------------------------------------------------------------------------

    def _kept(self, url: str) -> Downloaded | None:
        record = read_record(self._folder / f"{key_of(url)}.json")
        if record is None or not (self._folder / record["name"]).is_file():
            return None
        return Downloaded(self._folder / record["name"], record["sha256"], Validators(**record["validators"]))

    def _keep(self, url: str, part: Path, name: str, validators: Validators) -> Downloaded:
        path = self._folder / name
        digest = sha256_of_file(part)
        part.replace(path)
        record = {"url": masked(url), "name": name, "sha256": digest, "validators": asdict(validators)}
        write_record(self._folder / f"{key_of(url)}.json", record)
        return Downloaded(path, digest, validators)

    # --- downloading --------------------------------------------------------------------------------------------------

    def _download(self, url: str, sha256: str | None) -> Downloaded:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f"{key_of(url)}.part"
        name, validators = self._with_retries(url, lambda client: self._transfer(client, url, part))
        if sha256 and (found := sha256_of_file(part)) != sha256:
            part.unlink()
            raise SourceError(
                f"{masked(url)} has the sha256 {found}, and {sha256} was expected; "
                "either the download is not what you meant, or its checksum in corpus.sources is out of date"
            )
        return self._keep(url, part, name, validators)

    def _transfer(self, client: httpx.Client, url: str, part: Path) -> tuple[str, Validators]:
        """One try: continues `part` where the server still has the same version, else begins anew."""
        begun = Validators(**(read_record(part.with_suffix(".part.json")) or {}))
        offset = part.stat().st_size if part.exists() else 0
        headers = {}
        if offset and begun.for_resuming:
            headers = {"Range": f"bytes={offset}-", "If-Range": begun.for_resuming}
        with client.stream("GET", without_user(url), headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink()
                raise RetryableError("it answered that the partial download does not fit")
            check_status(response, url)
            name = name_of(url, response)
            if not continues_at(response, offset):
                offset = 0
            validators = begun if offset else validators_of(response)
            write_record(part.with_suffix(".part.json"), {} if is_encoded(response) else asdict(validators))
            self._receive(response, url, part, offset)
            part.with_suffix(".part.json").unlink()
            return name, validators

    def _receive(self, response: httpx.Response, url: str, part: Path, offset: int) -> None:
        length = content_length(response)
        total = None if length is None else offset + length
        blocks = response.iter_bytes(BLOCK_BYTES) if is_encoded(response) else response.iter_raw(BLOCK_BYTES)
        progress = Progress(self._store)
        done = offset
        try:
            self._check_size(url, total or 0)
            with part.open("ab" if offset else "wb") as handle:
                for block in blocks:
                    done += len(block)
                    self._check_size(url, done)
                    handle.write(block)
                    if progress.due():
                        progress.report(done, total, f"downloading {masked(url)}")
        except SourceError:
            part.unlink(missing_ok=True)
            raise

    def _check_size(self, url: str, size: int) -> None:
        if size > self._max_bytes:
            raise SourceError(
                f"{masked(url)} has {size:,} bytes or more, and corpus.max_download_bytes permits "
                f"{self._max_bytes:,}; raise it if you want this file"
            )

    def _with_retries(self, url: str, once: Callable[[httpx.Client], Result]) -> Result:
        problem = ""
        for delay in (*RETRY_DELAYS, None):
            try:
                with client_for(url) as client:
                    return once(client)
            except RetryableError as error:
                problem = str(error)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                problem = str(error) or type(error).__name__
                if isinstance(error, httpx.UnsupportedProtocol) or not isinstance(error, httpx.TransportError):
                    raise SourceError(f"{masked(url)} cannot be read: {problem}; check the URL") from None
            if delay is not None:
                logger.warning("%s: %s; trying again in %g s", masked(url), problem, delay)
                time.sleep(delay)
        raise SourceError(
            f"{masked(url)} cannot be read: {problem} ({len(RETRY_DELAYS) + 1} tries); "
            "check the network and the server, and run again: what has arrived is kept"
        )


@contextmanager
def client_for(url: str) -> Iterator[httpx.Client]:
    """A client that sends the URL's user and password, if it has them, as a header.

    While it is open, the HTTP library does not log: it would log whole URLs, with the secrets among their parameters
    and with those of the places that they are redirected to.
    """
    parts = urlsplit(url)
    auth = (unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None
    headers = {"Accept-Encoding": "identity"}  # the bytes of the file, so that they can be counted and resumed
    log = logging.getLogger("httpx")
    log.addFilter(drop)
    try:
        with httpx.Client(auth=auth, headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=True) as client:
            yield client
    finally:
        log.removeFilter(drop)


def drop(_: logging.LogRecord) -> bool:
    return False


# --- records beside the files -----------------------------------------------------------------------------------------


def read_record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Whole or not at all."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(json.dumps(record, indent=1) + "\n")
    beside.replace(path)
