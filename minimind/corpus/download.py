"""Downloads into the store: limited, resumed, retried, checked, and kept until the server has something newer."""

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from minimind.corpus.files import SUFFIXES, suffix_of
from minimind.corpus.progress import Progress
from minimind.corpus.sources.protocol import mask_url
from minimind.errors import SourceError
from minimind.store import Store, sha256_of_file

logger = logging.getLogger(__name__)

RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0)  # seconds between tries
TIMEOUT_SECONDS = 30.0  # without a byte
BLOCK_BYTES = 1 << 18
RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
Result = TypeVar("Result")


@dataclass(frozen=True)
class Validators:
    """What a server says about the version of a file that it has."""

    etag: str | None = None
    last_modified: str | None = None
    length: int | None = None

    @property
    def tell_versions(self) -> bool:
        return bool(self.etag or self.last_modified)

    @property
    def for_resuming(self) -> str | None:
        """The value of If-Range; a weak ETag does not promise equal bytes."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def __str__(self) -> str:
        parts = (("ETag", self.etag), ("modified", self.last_modified), ("bytes", self.length))
        return ", ".join(f"{name} {value}" for name, value in parts if value is not None)


@dataclass(frozen=True)
class Downloaded:
    """A file in the store's download folder."""

    path: Path
    sha256: str
    validators: Validators


class RetryableError(Exception):
    """A failure that another try may not meet again; carries the reason in words."""


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
                expected = kept.sha256 == sha256 if sha256 else current is not None and kept.validators == current
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
        record = {"url": mask_url(url), "name": name, "sha256": digest, "validators": asdict(validators)}
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
                f"{mask_url(url)} has the sha256 {found}, and {sha256} was expected; "
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
                        progress.report(done, total, f"downloading {mask_url(url)}")
        except SourceError:
            part.unlink(missing_ok=True)
            raise

    def _check_size(self, url: str, size: int) -> None:
        if size > self._max_bytes:
            raise SourceError(
                f"{mask_url(url)} has {size:,} bytes or more, and corpus.max_download_bytes permits "
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
                    raise SourceError(f"{mask_url(url)} cannot be read: {problem}; check the URL") from None
            if delay is not None:
                logger.warning("%s: %s; trying again in %g s", mask_url(url), problem, delay)
                time.sleep(delay)
        raise SourceError(
            f"{mask_url(url)} cannot be read: {problem} ({len(RETRY_DELAYS) + 1} tries); "
            "check the network and the server, and run again: what has arrived is kept"
        )


# --- URLs and answers -------------------------------------------------------------------------------------------------


def client_for(url: str) -> httpx.Client:
    """A client that sends the URL's user and password, if it has them, as a header."""
    parts = urlsplit(url)
    auth = (unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None
    headers = {"Accept-Encoding": "identity"}  # the bytes of the file, so that they can be counted and resumed
    return httpx.Client(auth=auth, headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=True)


def without_user(url: str) -> str:
    """The URL that may be logged by the HTTP library: without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def key_of(url: str) -> str:
    return hashlib.sha256(without_user(url).encode()).hexdigest()[:16]


def check_status(response: httpx.Response, url: str) -> None:
    status = response.status_code
    said = f"{status} {response.reason_phrase}".strip()
    if response.is_success:
        return
    if status in RETRIED_STATUS:
        raise RetryableError(f"the server answered {said}")
    what = {
        401: "it wants a login",
        403: "access is denied",
        404: "there is no such file; check the URL in corpus.sources",
        410: "the file has been taken away; look for its new place",
    }
    raise SourceError(f"{mask_url(url)}: the server answered {said}; {what.get(status, 'check the URL')}")


def validators_of(response: httpx.Response) -> Validators:
    headers = response.headers
    return Validators(headers.get("ETag"), headers.get("Last-Modified"), content_length(response))


def content_length(response: httpx.Response) -> int | None:
    """Bytes that the server announces; None if it does not, or if they are those of an encoding."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and not is_encoded(response) else None


def is_encoded(response: httpx.Response) -> bool:
    """True if the bytes on the wire are not those of the file.

    A .gz file whose own compression the server declares as an encoding is left as it is.
    """
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    asked = response.history[0].url if response.history else response.url
    of_the_file = encoding in ("gzip", "x-gzip") and asked.path.lower().endswith(".gz")
    return encoding != "identity" and not of_the_file


def continues_at(response: httpx.Response, offset: int) -> bool:
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        return False
    if response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        return True
    raise RetryableError("it answered with another range than was asked for")


def name_of(url: str, response: httpx.Response) -> str:
    """A file name that is safe on this disk: the URL's key, and the last part of its path, or what the server names."""
    named = unquote(urlsplit(url).path).rpartition("/")[2]
    if suffix_of(named) not in SUFFIXES:
        disposition = Message()
        disposition["Content-Disposition"] = response.headers.get("Content-Disposition", "")
        named = disposition.get_filename() or named
    if suffix_of(named) not in SUFFIXES:
        raise SourceError(
            f"{mask_url(url)} names no format that can be read; these can: {' '.join(SUFFIXES)}. "
            "Use a URL that ends in one of them"
        )
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", named.replace("\\", "/").rpartition("/")[2]).lstrip(".")
    return f"{key_of(url)}-{plain[-100:]}"


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
