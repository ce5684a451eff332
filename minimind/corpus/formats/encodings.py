"""Bytes as text: UTF-8, UTF-16 and UTF-32 for certain, and what else is written by what it looks like."""

import codecs
import io
import re
from typing import Any, BinaryIO, cast

from minimind.corpus.records import UnfitError

SAMPLE_BYTES = 1 << 16
MIN_FOREIGN_SHARE = 0.05  # of bytes beyond ASCII; below, a text is Western: nothing but § “ ” é may stand in it
MAX_NUL_SHARE = 0.01  # beyond, it is no text
DETECTED = {  # Python's name -> the name in documents' metadata; those told apart well
    "cp1252": "windows-1252",
    "cp1250": "windows-1250",
    "cp1251": "windows-1251",
    "cp1253": "windows-1253",
    "cp1254": "windows-1254",
    "cp1255": "windows-1255",
    "cp1256": "windows-1256",
    "koi8_r": "koi8-r",
    "cp932": "shift_jis",
    "euc_jp": "euc-jp",
    "gb18030": "gb18030",
    "big5": "big5",
    "cp949": "euc-kr",
}
MULTIBYTE = {"cp932", "euc_jp", "gb18030", "big5", "cp949"}
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like that of UTF-16, so it stands before it
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
DECLARED_WITHIN_BYTES = 4096
LATIN = {"ascii", "iso8859-1"}  # declared so, a page means windows-1252: https://encoding.spec.whatwg.org


class Decoder:
    """Decodes one file, as a whole or line by line.

    What is UTF-8 is read as that. Lines that are not are read in the encoding that the first of them, or all of a text
    together, look like; so a file that mixes two encodings keeps both. `encoding` is None as long as all is UTF-8.
    """

    def __init__(self, encoding: str | None = None) -> None:
        self._wide = encoding
        self._detected: str | None = None

    @property
    def is_wide(self) -> bool:
        """Whether the stream was UTF-16 or UTF-32 and has been turned into UTF-8."""
        return self._wide is not None

    def decode(self, content: bytes) -> tuple[str, str | None]:
        """The text without a byte order mark, and its encoding if that is not UTF-8; raises UnfitError."""
        try:
            return content.decode().removeprefix("\ufeff"), self._wide
        except UnicodeDecodeError:
            return self._decode_other(content)

    def decode_page(self, content: bytes) -> tuple[str, str | None]:
        """As `decode`, of an HTML page, which may declare its encoding."""
        declared = DECLARED.search(content, 0, DECLARED_WITHIN_BYTES)
        if declared and is_foreign(content):
            try:
                name = codecs.lookup(declared[1].decode("ascii", "replace")).name
                name = "cp1252" if name in LATIN else name
                return content.decode(name), DETECTED.get(name, name)
            except (LookupError, UnicodeDecodeError):
                pass  # it declares what it is not
        return self.decode(content)

    def _decode_other(self, content: bytes) -> tuple[str, str]:
        if self._detected and (text := decode_lines(content, self._detected)) is not None:
            return text, DETECTED[self._detected]
        encoding = detect(content)
        text = decode_lines(content, encoding) if encoding else None
        if encoding is None or text is None:
            raise UnfitError("it is not UTF-8, and its encoding cannot be told; save it as UTF-8")
        self._detected = encoding
        return text, DETECTED[encoding]


def decode_lines(content: bytes, encoding: str) -> str | None:
    """The text, None if it is not in this encoding.

    Lines that are UTF-8 are read as that, unless two bytes of the encoding may look like it.
    """
    lines = [content] if encoding in MULTIBYTE else content.splitlines(keepends=True)
    try:
        text = "".join(line.decode(encoding if is_foreign(line) else "utf-8") for line in lines)
    except UnicodeDecodeError:
        return None
    return text.removeprefix("\ufeff")


def detect(content: bytes) -> str | None:
    """Python's name of the encoding that the lines that are not UTF-8 look like; None if none is likely."""
    from charset_normalizer import from_bytes

    sample = b"".join(line for line in content.splitlines(keepends=True) if is_foreign(line))[:SAMPLE_BYTES]
    foreign = sum(byte > 127 for byte in sample)
    if foreign < MIN_FOREIGN_SHARE * len(sample):
        return "cp1252"
    best = from_bytes(sample, cp_isolation=list(DETECTED)).best()
    if best is None:
        return None
    western = sample.decode("cp1252", "replace") == sample.decode(best.encoding, "replace")
    return "cp1252" if western else best.encoding  # the same signs stand at the same places in several encodings


def is_foreign(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return True
    return False


# --- UTF-16 and UTF-32 ------------------------------------------------------------------------------------------------


def as_utf8(stream: BinaryIO) -> tuple[BinaryIO, Decoder]:
    """The stream with UTF-16 and UTF-32 turned into UTF-8, and the decoder of its lines.

    The stream must be at its start. Raises UnfitError if it is no text.
    """
    head = cast(io.BufferedReader, stream).peek(SAMPLE_BYTES)[:SAMPLE_BYTES]
    encoding = wide_encoding(head)
    if encoding is None:
        if head.count(0) > MAX_NUL_SHARE * len(head):
            raise UnfitError(f"it is no text: {head.count(0):,} of its first {len(head):,} bytes are NUL")
        return stream, Decoder()
    return io.BufferedReader(RecodedStream(stream, encoding)), Decoder(encoding)


def wide_encoding(head: bytes) -> str | None:
    """`utf-16` or `utf-32` by its mark, or UTF-16 by where its NUL bytes stand; None if it is neither."""
    marked = next((encoding for mark, encoding in MARKS if head.startswith(mark)), None)
    if marked:
        return marked
    even, odd = head[0::2].count(0), head[1::2].count(0)
    most = 0.4 * len(head) / 2  # of ASCII, spaces and line ends included
    few = MAX_NUL_SHARE * len(head) / 2
    return "utf-16-le" if odd > most and even <= few else "utf-16-be" if even > most and odd <= few else None


class RecodedStream(io.RawIOBase):
    """Gives a stream of another encoding as UTF-8; raises UnicodeDecodeError where it is damaged."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            block = self._stream.read(SAMPLE_BYTES)
            self._waiting = self._decoder.decode(block, final=not block).encode()
            if not block:
                break
        count = min(len(buffer), len(self._waiting))
        buffer[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count
