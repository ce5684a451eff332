"""Blocks of JSON lines read at once by Arrow, where every line is plain: an object with strings and nothing odd."""

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from minimind.corpus.document import SCHEMA, DocumentBatch
from minimind.corpus.records import FIELDS, MAX_DOCUMENT_BYTES, Place, iso_date

RECORD = pa.schema([(name, pa.string()) for name in FIELDS])
# What is mended or refused line by line: NUL and half of a surrogate pair as escapes (whole pairs count too), and what
# Arrow reads and Python does not: Inf, -NaN, integers of more than 4,300 digits, brackets a thousand deep. Each is
# looked for by what it begins with or by counting: one expression for all takes twenty times as long.
ESCAPE, INFINITY = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])"), re.compile(rb"Inf(?![a-z])")
DIGITS_APART, DIGITS = 512, re.compile(rb"[0-9]{8}")
STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
MOST_BRACKETS = 500
SOMETHING = r"[^\t-\r\x1c- \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
MIN_BLOCK_BYTES = 1 << 20


def read_block(lines: list[bytes], place: Place) -> DocumentBatch | None:
    """The documents of the lines as a batch; None if any of them asks for a closer look.

    What it gives is what `make_document` gives line by line.
    """
    longest = max(map(len, lines))
    if longest > MAX_DOCUMENT_BYTES or not all(
        line.startswith(b"{") and line.endswith((b"}\n", b"}")) for line in lines
    ):
        return None
    block = b"".join(lines)
    if is_odd(block) or any(map(may_be_deep, lines)):
        return None
    records = parsed(block, longest)
    if records is None or len(records) != len(lines) or not is_plain(records):
        return None
    return documents_of(records, place)


def is_odd(block: bytes) -> bool:
    found = any(pattern.search(block) for pattern in (ESCAPE, INFINITY))
    return found or b"-NaN" in block or b"\0" in block or DIGITS.search(block[::DIGITS_APART]) is not None


def may_be_deep(line: bytes) -> bool:
    """Whether so many brackets stand outside of strings that Python's parser may refuse their depth."""
    if line.count(b"[") + line.count(b"{") < MOST_BRACKETS:
        return False
    bare = STRING.sub(b"", line)
    return bare.count(b"[") + bare.count(b"{") >= MOST_BRACKETS


def parsed(block: bytes, longest: int) -> pa.Table | None:
    try:
        block.decode()
        return pj.read_json(
            pa.BufferReader(block),
            pj.ReadOptions(block_size=max(2 * longest, MIN_BLOCK_BYTES)),
            pj.ParseOptions(explicit_schema=RECORD, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowException, UnicodeDecodeError):
        return None


def is_plain(records: pa.Table) -> bool:
    """Whether every record has an id and a text with something in them, and no date that is none or is rewritten."""
    for name in ("id", "text"):  # one null makes the whole null
        if not pc.all(pc.match_substring_regex(records[name], SOMETHING), skip_nulls=False).as_py():
            return False
    return all(iso_date(value) == value for value in pc.unique(records["date"]).to_pylist() if value)


def documents_of(records: pa.Table, place: Place) -> DocumentBatch:
    columns = {name: records[name].combine_chunks() for name in FIELDS}
    title, given_license = (
        pc.if_else(pc.equal(columns[name], ""), None, columns[name]) for name in ("title", "license")
    )
    count = len(records)
    arrays = [
        pc.binary_join_element_wise(place.source, columns["id"], "/"),
        columns["text"],
        pa.repeat(pa.scalar(place.source), count),
        title,
        pc.coalesce(given_license, pa.scalar(place.license, pa.string())),
        metadata_of(columns["source"].to_pylist(), columns["date"].to_pylist(), place),
    ]
    return DocumentBatch(pa.record_batch(arrays, SCHEMA))


def metadata_of(origins: list[str | None], dates: list[str | None], place: Place) -> Any:
    rows = []
    for origin, date in zip(origins, dates, strict=True):
        noted = dict(place.metadata)
        if origin:
            noted["origin"] = origin
        if date:
            noted["date"] = date
        rows.append(sorted(noted.items()))
    return pa.array(rows, SCHEMA.field("metadata").type)
