"""Text and Markdown: one document a file."""

from collections.abc import Iterator
from typing import BinaryIO

from minimind.corpus import records
from minimind.corpus.formats.encodings import as_utf8
from minimind.corpus.formats.lines import check_length
from minimind.corpus.records import Place, make_document, noted
from minimind.corpus.sources.protocol import Item


def read_text(stream: BinaryIO, place: Place) -> Iterator[Item]:
    """The whole stream as one document, none if it is empty; raises UnfitError."""
    stream, decoder = as_utf8(stream)
    content = check_length(stream.read(records.MAX_DOCUMENT_BYTES + 1))
    text, encoding = decoder.decode(content)
    if text and not text.isspace():
        yield make_document({"id": place.whole, "text": text}, noted(place, encoding=encoding))
