"""Documents out of one stream, by the format that its name stands for.

What cannot be read is yielded as Unreadable with its place and reason; no line, row or file is dropped unsaid.
"""

from collections.abc import Iterator
from typing import BinaryIO

from minimind.corpus.expanding import Budget, expand
from minimind.corpus.formats.csv_rows import read_csv
from minimind.corpus.formats.damage import unreadable_if_damaged, words_of
from minimind.corpus.formats.error_pages import refuse_error_page
from minimind.corpus.formats.json_lines import read_json_lines
from minimind.corpus.formats.office import read_office
from minimind.corpus.formats.parquet_rows import read_parquet
from minimind.corpus.formats.text import read_text
from minimind.corpus.formats.web_page import read_web_page
from minimind.corpus.records import Place, UnfitError
from minimind.corpus.sources.protocol import Item, Unreadable
from minimind.corpus.suffixes import WHOLE, compression_of

__all__ = ["needs_file", "read_stream", "unreadable_if_damaged", "words_of"]

READERS = {
    ".txt": read_text,
    ".md": read_text,
    ".jsonl": read_json_lines,
    ".csv": read_csv,
    ".html": read_web_page,
    ".htm": read_web_page,
    ".parquet": read_parquet,
}


def read_stream(stream: BinaryIO, suffix: str, place: Place, budget: Budget) -> Iterator[Item]:
    """The documents of a stream in the format that `suffix` names; see `needs_file`. Raises TooLargeError."""
    yield from unreadable_if_damaged(read_whole(stream, suffix, place, budget), place)


def needs_file(suffix: str) -> bool:
    """True if the format is not read forwards: its stream must seek, and have a `name` under which it can be opened."""
    return suffix in WHOLE


def read_whole(stream: BinaryIO, suffix: str, place: Place, budget: Budget) -> Iterator[Item]:
    compression = compression_of(suffix)
    form = suffix.removesuffix(compression)
    try:
        refuse_error_page(stream, suffix)
        if compression:
            stream = expand(stream, compression, budget)
            refuse_error_page(stream, form)
        if form in READERS:
            yield from READERS[form](stream, place)
        else:
            yield from read_office(stream, form, place, budget)
    except UnfitError as problem:  # of the whole; what fits not in a line is said by its reader
        yield Unreadable(place.path, None, str(problem), place.unit)
