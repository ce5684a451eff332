"""JSON lines: one document a line."""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

from minimind.corpus.document import DocumentBatch
from minimind.corpus.formats.damage import words_of
from minimind.corpus.formats.encodings import Decoder, as_utf8
from minimind.corpus.formats.json_blocks import read_block
from minimind.corpus.formats.lines import check_length, numbered_lines
from minimind.corpus.records import Place, UnfitError, make_document, noted
from minimind.corpus.sources.protocol import Item, Unreadable

BLOCK_BYTES = 8 << 20
BLOCKS_AHEAD = 2  # that are read while the documents of another are taken
NumberedLine = tuple[int, bytes]
Block = DocumentBatch | None


def read_json_lines(stream: BinaryIO, place: Place) -> Iterator[Item]:
    """One document a line; blank lines are none. Of a file, plain lines are given in batches."""
    stream, decoder = as_utf8(stream)
    if place.unit != "file" or decoder.is_wide:
        for numbered in blocks(stream):
            yield from read_lines(numbered, decoder, place)
        return
    for numbered, batch in read_ahead(blocks(stream), place):
        if batch is not None:
            yield batch
        else:
            yield from read_lines(numbered, decoder, place)


def read_ahead(given: Iterable[list[NumberedLine]], place: Place) -> Iterator[tuple[list[NumberedLine], Block]]:
    """Each block and what `read_block` makes of it, in their order; an error of `given` comes behind those before it.

    Arrow parses without Python's lock, so that reading, parsing and taking documents share two cores.
    """
    waiting: deque[tuple[list[NumberedLine], Future[Block]]] = deque()
    with ThreadPoolExecutor(BLOCKS_AHEAD, "json") as threads:
        try:
            for block in given:
                waiting.append((block, threads.submit(read_block, [line for _, line in block], place)))
                if len(waiting) > BLOCKS_AHEAD:
                    yield finished(*waiting.popleft())
        except Exception:
            yield from (finished(*each) for each in waiting)
            raise
        yield from (finished(*each) for each in waiting)


def finished(block: list[NumberedLine], read: Future[Block]) -> tuple[list[NumberedLine], Block]:
    return block, read.result()


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
        said = error.msg.removesuffix(" at")  # some of Python's messages end in it
        raise UnfitError(f"it is no valid JSON: {said} at character {error.pos + 1:,}") from None
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"it is no valid JSON: {words_of(error)}") from None
