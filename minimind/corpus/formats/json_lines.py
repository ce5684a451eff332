"""JSON lines: one document a line."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from minimind.corpus.formats.damage import words_of
from minimind.corpus.formats.encodings import Decoder, as_utf8
from minimind.corpus.formats.json_blocks import read_block
from minimind.corpus.formats.lines import check_length, numbered_lines
from minimind.corpus.records import Place, UnfitError, make_document, noted
from minimind.corpus.sources.protocol import Item, Unreadable

BLOCK_BYTES = 8 << 20
NumberedLine = tuple[int, bytes]


def read_json_lines(stream: BinaryIO, place: Place) -> Iterator[Item]:
    """One document a line; blank lines are none. Of a file, plain lines are given in batches."""
    stream, decoder = as_utf8(stream)
    for numbered in blocks(stream):
        at_once = place.unit == "file" and not decoder.is_wide
        batch = read_block([line for _, line in numbered], place) if at_once else None
        if batch is not None:
            yield batch
        else:
            yield from read_lines(numbered, decoder, place)


def blocks(stream: BinaryIO) -> Iterator[list[NumberedLine]]:
    """The lines that are not blank, about BLOCK_BYTES at a time; those before a damage, and then its error."""
    block: list[NumberedLine] = []
    size = 0
    try:
        for number, line in numbered_lines(stream):
            if line.isspace():
                continue
            block.append((number, line))
            size += len(line)
            if size >= BLOCK_BYTES:
                yield block
                block, size = [], 0
    except Exception:
        if block:
            yield block
        raise
    if block:
        yield block


def read_lines(numbered: Iterable[NumberedLine], decoder: Decoder, place: Place) -> Iterator[Item]:
    for number, line in numbered:
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
