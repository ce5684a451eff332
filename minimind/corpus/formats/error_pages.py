"""Pages that servers send in place of a file, saved under the file's name."""

import io
import re
from typing import BinaryIO, cast

from minimind.corpus.records import UnfitError

HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|error)\b", re.IGNORECASE)  # how object stores refuse
SAYS = re.compile(rb"<(title|h1|message|code)\b[^>]*>(.*?)<", re.IGNORECASE | re.DOTALL)
PEEKED_BYTES = 8192


def refuse_error_page(stream: BinaryIO, suffix: str) -> None:
    """Raises UnfitError if the stream, which must be at its start and stays there, is a page and not its format."""
    if suffix.startswith((".html", ".htm")):
        return
    head = cast(io.BufferedReader, stream).peek(PEEKED_BYTES)
    kind = "an HTML page" if HTML.match(head) else "an XML answer" if XML.match(head) else ""
    if not kind or (kind == "an XML answer" and suffix.startswith((".txt", ".md"))):
        return
    found = SAYS.search(head)
    said = " ".join(found[2].decode("utf-8", "replace").split())[:80] if found else ""
    quoted = f" ({said!r})" if said else ""
    raise UnfitError(
        f"it is {kind}{quoted}, as servers send in place of a file; {suffix} was expected. "
        "Fetch it again, or name it .html if the page itself is wanted"
    )
