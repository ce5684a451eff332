"""JSON lines: one document a line."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from minimind.corpus.formats.damage import words_of
from minimind.corpus.formats.encodings import as_utf8
from minimind.corpus.formats.lines import check_length, numbered_lines
from minimind.corpus.records import Place, UnfitError, make_document, noted
from minimind.corpus.sources.protocol import Item, Unreadable


def read_json_lines(stream: BinaryIO, place: Place) -> Iterator[Item]:
    """One document a line; blank lines are none."""
    stream, decoder = as_utf8(stream)
    for number, line in numbered_lines(stream):
        if line.isspace():
            continue
        try:
            text, encoding = decoder.decode(check_length(line))
            yield make_document(parse_json(text), noted(place, encoding=encoding) if encoding else place)
        except UnfitError as problem:
            yield Unreadable(place.path, number, str(problem), "line")


def parse_json(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise UnfitError(f"it is no valid JSON: {error.msg} at character {error.pos + 1:,}") from None
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"it is no valid JSON: {words_of(error)}") from None
