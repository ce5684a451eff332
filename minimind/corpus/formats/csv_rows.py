"""CSV: one document a row, from the columns named as in JSON lines."""

import csv
import sys
from collections.abc import Iterator
from typing import BinaryIO

from minimind.corpus import records
from minimind.corpus.formats import lines
from minimind.corpus.formats.encodings import Decoder, as_utf8
from minimind.corpus.records import FIELDS, Place, UnfitError, check_columns, make_document, noted
from minimind.corpus.sources.protocol import Item, Unreadable

DELIMITERS = (",", ";", "\t", "|")


def read_csv(stream: BinaryIO, place: Place) -> Iterator[Item]:
    """One document a row; blank rows are none. Raises UnfitError if the header or a quote spoils all that follows."""
    stream, decoder = as_utf8(stream)
    rows = Rows(stream, decoder)
    header = rows.read_header()
    if header is None:
        return
    check_columns(header)
    places = [(name, header.index(name)) for name in FIELDS if name in header]
    for first_line, row in rows:
        try:
            if isinstance(row, UnfitError):
                raise row
            if len(row) != len(header):
                raise UnfitError(
                    f"it has {len(row):,} fields, and the header has {len(header):,}; "
                    "put quotes round a field that holds the separator or a line break"
                )
            record = {name: row[position] for name, position in places}
            yield make_document(record, noted(place, encoding=rows.encoding))
        except UnfitError as problem:
            yield Unreadable(place.path, first_line, str(problem), "line")


class Rows:
    """The rows of a CSV stream, each with the number of its first line and, once it is read, its encoding."""

    def __init__(self, stream: BinaryIO, decoder: Decoder) -> None:
        self._lines = lines.numbered_lines(stream)
        self._decoder = decoder
        self._row_bytes = 0
        self._delimiter = ","
        self._number = 0
        self.encoding: str | None = None
        csv.field_size_limit(sys.maxsize)  # the length of a row is limited here, by _texts

    def read_header(self) -> list[str] | None:
        """The names of the columns; None if there is none. They decide what separates fields."""
        line = next((line for line in self._texts() if line.strip()), None)
        if line is None:
            return None
        try:
            headers = {delimiter: next(csv.reader([line], delimiter=delimiter)) for delimiter in DELIMITERS}
        except csv.Error as error:
            raise UnfitError(f"its header is no valid CSV: {error}") from None
        with_text = (delimiter for delimiter in DELIMITERS if "text" in map(str.strip, headers[delimiter]))
        self._delimiter = next(with_text, max(DELIMITERS, key=lambda delimiter: len(headers[delimiter])))
        return [name.strip() for name in headers[self._delimiter]]

    def __iter__(self) -> Iterator[tuple[int, list[str] | UnfitError]]:
        reader = csv.reader(self._texts(), delimiter=self._delimiter, strict=True)
        while True:
            self._row_bytes, self.encoding, first_line = 0, None, self._number + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "end of data" in str(error):
                    raise UnfitError(f"the quote opened in the row at line {first_line:,} is never closed") from None
                yield first_line, UnfitError(f"it is no valid CSV: {error}")
                continue
            if row:
                yield first_line, row

    def _texts(self) -> Iterator[str]:
        for number, line in self._lines:
            self._number = number
            self._row_bytes += len(line)
            if self._row_bytes > records.MAX_DOCUMENT_BYTES:
                raise UnfitError(
                    f"the row that ends at line {number:,} has more than {records.MAX_DOCUMENT_BYTES:,} bytes, and is "
                    "not read, nor is what follows it; split the row, or close its quote"
                )
            text, encoding = self._decoder.decode(line)
            self.encoding = encoding or self.encoding
            yield text
