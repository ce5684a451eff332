"""What an HTTP answer says: its status, the version and length of the file, how it is encoded, and its name."""

import hashlib
import re
from dataclasses import dataclass
from email.message import Message
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from minimind.corpus.files import SUFFIXES, suffix_of
from minimind.errors import SourceError
from minimind.masking import masked

RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}


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

    def same_version(self, other: "Validators") -> bool:
        """True if both describe the same file; a length that one answer leaves out says nothing."""
        lengths = {self.length, other.length} - {None}
        return (self.etag, self.last_modified) == (other.etag, other.last_modified) and len(lengths) <= 1

    def __str__(self) -> str:
        parts = (("ETag", self.etag), ("modified", self.last_modified), ("bytes", self.length))
        return ", ".join(f"{name} {value}" for name, value in parts if value is not None)


class RetryableError(Exception):
    """A failure that another try may not meet again; carries the reason in words."""


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
    raise SourceError(f"{masked(url)}: the server answered {said}; {what.get(status, 'check the URL')}")


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
            f"{masked(url)} names no format that can be read; these can: {' '.join(SUFFIXES)}. "
            "Use a URL that ends in one of them"
        )
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", named.replace("\\", "/").rpartition("/")[2]).lstrip(".")
    return f"{key_of(url)}-{plain[-100:]}"


def without_user(url: str) -> str:
    """The URL that may be logged by the HTTP library: without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def key_of(url: str) -> str:
    return hashlib.sha256(without_user(url).encode()).hexdigest()[:16]
