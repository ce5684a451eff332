"""What an HTTP answer says: its status, the version and length of the file, how it is encoded, and its name."""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from minimind.corpus.suffixes import SUFFIXES, SUFFIXES_IN_WORDS, suffix_of
from minimind.errors import SourceError
from minimind.masking import masked

RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
PAGE_TYPES = ("text/html", "application/xhtml+xml")
PAGE_SUFFIXES = (".html", ".htm", ".xhtml", ".html.gz", ".html.zst")
PAGE_BEGINNING = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype\s+html|html[\s>])", re.IGNORECASE)


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

    def for_asking(self) -> dict[str, str]:
        """The headers of a request that is answered with the file only if it has changed."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}

    def same_version(self, other: "Validators") -> bool:
        """True if both describe the same file; a length that one answer leaves out says nothing."""
        lengths = {self.length, other.length} - {None}
        return (self.etag, self.last_modified) == (other.etag, other.last_modified) and len(lengths) <= 1


class RetryableError(Exception):
    """A failure that another try may not meet again; carries the reason in words."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class RangeError(RetryableError):
    """The rest that was sent does not belong to the part that is here."""


def check_status(response: httpx.Response, url: str) -> None:
    status = response.status_code
    said = f"{status} {response.reason_phrase}".strip()
    if response.is_success:
        return
    if status in RETRIED_STATUS:
        raise RetryableError(f"the server answered {said}", retry_after(response))
    what = {
        401: "it wants a login",
        403: "access is denied",
        404: "there is no such file; check the URL in corpus.sources",
        410: "the file has been taken away; look for its new place",
    }
    raise SourceError(f"{masked(url)}: the server answered {said}; {what.get(status, 'check the URL')}")


def retry_after(response: httpx.Response) -> float:
    """Seconds that the server asks to wait; 0 if it does not."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # no date, or one without a zone
        return 0.0


def is_unchanged(response: httpx.Response, current: "Validators", kept: "Validators") -> bool:
    """True if the server says so, or sends what is kept although it was asked for changes only."""
    if response.status_code == httpx.codes.NOT_MODIFIED:
        return True
    return response.status_code == httpx.codes.OK and current.tell_versions and current.same_version(kept)


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


def check_range(response: httpx.Response, offset: int, begun: Validators) -> None:
    """Raises RangeError unless the answer is the rest, from `offset`, of the version that was begun.

    A server may ignore If-Range; what it says of the version, which it may leave out, must not differ.
    """
    sent = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if sent is None or int(sent[1]) != offset:
        raise RangeError("it answered with another range than was asked for")
    length = int(sent[3]) if sent[3] != "*" else None
    if length is not None and (begun.length not in (None, length) or int(sent[2]) + 1 != length):
        raise RangeError("it answered with a range of a file of another length")
    told = validators_of(response)
    if told.etag not in (None, begun.etag) or told.last_modified not in (None, begun.last_modified):
        raise RangeError("it answered with a range of another version of the file")


def sent_more(response: httpx.Response) -> bool:
    """True if bytes follow a body that is complete, and are not part of it.

    HTTP ignores them, and so does httpx, which is why its connection is looked into; they mean that the length was
    wrong and the file is cut off.
    """
    connection: object = response.stream
    for name in ("_stream", "_httpcore_stream", "_stream", "_connection"):
        connection = getattr(connection, name, None)
    buffered = getattr(getattr(connection, "_h11_state", None), "trailing_data", (b"", False))[0]
    if buffered:
        return True
    stream = response.extensions["network_stream"]
    return bool(stream.get_extra_info("is_readable") and stream.read(1, timeout=1))


# --- a web page where data was expected -------------------------------------------------------------------------------


def check_content_type(response: httpx.Response, url: str, name: str) -> None:
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type in PAGE_TYPES and not name.lower().endswith(PAGE_SUFFIXES):
        raise page_instead_of_data(url)


def looks_like_a_page(path: Path, name: str) -> bool:
    """True if the bytes begin like HTML and the name promises something else."""
    with path.open("rb") as handle:
        return not name.lower().endswith(PAGE_SUFFIXES) and bool(PAGE_BEGINNING.match(handle.read(1024)))


def page_instead_of_data(url: str) -> SourceError:
    return SourceError(
        f"{masked(url)}: the server answered with a web page instead of the file; open the address in a browser to see "
        "what it says (often a login, an error or a notice). If the file is right all the same, give its sha256"
    )


# --- names ------------------------------------------------------------------------------------------------------------


def name_of(url: str, response: httpx.Response) -> str:
    """A file name that is safe on this disk: the URL's key, and the last part of its path, or what the server names."""
    named = unquote(urlsplit(url).path).rpartition("/")[2]
    if suffix_of(named) not in SUFFIXES:
        disposition = Message()
        disposition["Content-Disposition"] = response.headers.get("Content-Disposition", "")
        named = disposition.get_filename() or named
    if suffix_of(named) not in SUFFIXES:
        raise SourceError(
            f"{masked(url)} names no format that can be read; these can: {SUFFIXES_IN_WORDS}. "
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
