"""The compiled loops of `kernels.py` as functions that SQL calls, and the tables of characters that they look into.

signature_of(text, shingle_words, bins), run_set_of(text, words, long_text_words), repetition_of(text), flags_of(text),
with_tidy_blanks(text)
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from duckdb.func import PythonUDFType

from minimind.cleaning import kernels
from minimind.cleaning.encodings import FOLLOWER, LEAD

Array = npt.NDArray[Any]

FOLDED_POINTS = 0x40000  # Unicode has no letters and digits beyond its first four planes
FOLDED = r"""
    select point, unicode(letter) as lower_case
    from (
        select range as point, lower(chr(range::integer)) as letter
        from range(1, $points)
        where range not between 55296 and 57343  -- surrogates are no characters
    )
    where regexp_matches(letter, '[\p{L}\p{N}_]')
"""
CLASSES = {
    # control characters, soft hyphens, invisible characters, other ends of lines
    kernels.ODD: r"[\x00-\x08\x0b\x0d-\x1f\x7f-\x9f\xad\u200b\u2028\u2029\u2060\ufeff]",
    kernels.WIDE_BLANK: r"[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]",
    kernels.AMPERSAND: "&",
    kernels.LEAD: f"[{LEAD}]",
    kernels.FOLLOWER: f"[{FOLLOWER}]",
    kernels.BLANK: "[ \t]",
    kernels.NEWLINE: "\n",
    kernels.PAGE_END: "\f",
}
FLAGS = {  # of a text, as SQL asks for them
    "odd": kernels.ODD,
    "may_compose": kernels.MAY_COMPOSE,
    "ampersand": kernels.AMPERSAND,
    "broken_pair": kernels.BROKEN_PAIR,
    "untidy_blanks": kernels.WIDE_BLANK | kernels.TRAILING_BLANK | kernels.EMPTY_LINES | kernels.OUTER_NEWLINE,
}
GRAMS = [f"top_{size}_gram_chars" for size in (2, 3, 4)] + [f"duplicate_{size}_gram_chars" for size in range(5, 11)]


def add_text_functions(connection: duckdb.DuckDBPyConnection) -> None:
    folded = folded_letters()
    text, number = "VARCHAR", "INTEGER"
    signature = duckdb.struct_type({"bins": "USMALLINT[]", "lows": "UBIGINT[]"})
    grams = duckdb.struct_type(dict.fromkeys(GRAMS, "BIGINT"))
    functions: dict[str, tuple[Callable[..., pa.Array], list[str], Any]] = {
        "signature_of": (partial(signature_column, folded), [text, number, number], signature),
        "run_set_of": (partial(run_set_column, folded), [text, number, number], "UBIGINT[]"),
        "repetition_of": (repetition_column, [text], grams),
        "flags_of": (flags_column, [text], "UINTEGER"),
        "with_tidy_blanks": (tidy_column, [text], text),
    }
    for name, (function, takes, gives) in functions.items():
        connection.create_function(name, function, takes, gives, type=PythonUDFType.ARROW)  # type: ignore[arg-type]


def load_text_functions() -> None:
    """Does beforehand what the first call of each function does: numba and its compiled loops take 0.7 s to load."""
    texts, number = pa.chunked_array([["a b c d e f"]]), pa.chunked_array([[2]])
    flags_column(texts)
    tidy_column(texts)
    signature_column(folded_letters(), texts, number, number)


def signature_column(folded: Array, texts: pa.ChunkedArray, size: pa.ChunkedArray, bins: pa.ChunkedArray) -> pa.Array:
    filled, lows, starts = kernels.signatures(*buffers_of(texts), folded, constant(size), constant(bins))
    return pa.StructArray.from_arrays(
        [pa.ListArray.from_arrays(starts, filled), pa.ListArray.from_arrays(starts, lows)], ["bins", "lows"]
    )


def run_set_column(
    folded: Array, texts: pa.ChunkedArray, size: pa.ChunkedArray, long_text_words: pa.ChunkedArray
) -> pa.Array:
    """Of each text the different runs of so many words, as sorted hashes; of long texts the lowest eighth."""
    hashes, starts = kernels.run_hashes(*buffers_of(texts), folded, constant(size), constant(long_text_words))
    ends = np.zeros_like(starts)
    pieces = []
    for text, (start, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        runs = hashes[start:end]
        runs.sort()  # numpy's is several times as fast as numba's
        pieces.append(runs[: kernels.without_repeats(runs)])
        ends[text + 1] = ends[text] + len(pieces[-1])
    return pa.ListArray.from_arrays(ends.astype(np.int32), np.concatenate(pieces) if pieces else hashes)


def repetition_column(texts: pa.ChunkedArray) -> pa.Array:
    counted = kernels.repetition(*buffers_of(texts))
    return pa.StructArray.from_arrays([pa.array(column) for column in counted.T], GRAMS)


def flags_column(texts: pa.ChunkedArray) -> pa.Array:
    return pa.array(kernels.flags_of(*buffers_of(texts), character_classes()))


def tidy_column(texts: pa.ChunkedArray) -> pa.Array:
    tidied, starts = kernels.tidy_blanks(*buffers_of(texts), character_classes())
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(starts), pa.py_buffer(tidied))


def buffers_of(texts: pa.ChunkedArray) -> tuple[Array, Array]:
    """The bytes and the offsets of a column of strings, without copying them."""
    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    assert pa.types.is_string(column.type) or pa.types.is_large_string(column.type), column.type
    _, offsets, data = column.buffers()
    width = np.int64 if pa.types.is_large_string(column.type) else np.int32
    places = np.frombuffer(offsets, width)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8), places


def constant(column: pa.ChunkedArray) -> int:
    return int(column[0].as_py()) if len(column) else 0


# --- tables of characters ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def folded_letters() -> Array:
    """uint32 [FOLDED_POINTS]: the lower case of letters, digits and _, as this DuckDB has it; 0 for all else."""
    with duckdb.connect(":memory:") as connection:
        folded = connection.execute(FOLDED, {"points": FOLDED_POINTS}).fetchnumpy()
    table = np.zeros(FOLDED_POINTS, np.uint32)
    table[folded["point"]] = folded["lower_case"]
    return table


@lru_cache(maxsize=1)
def character_classes() -> Array:
    """uint16 [0x110000]: of each code point, the bits of CLASSES that it belongs to; all beyond 0xFFFF are alike."""
    characters = "".join(map(chr, range(0x10001)))
    table = np.zeros(0x110000, np.uint16)
    for bit, pattern in CLASSES.items():
        for match in re.finditer(f"(?:{pattern})+", characters):
            table[match.start() : match.end()] |= bit
    table[[point for point, character in enumerate(characters) if may_compose(character)]] |= kernels.MAY_COMPOSE
    table[0x10001:] = table[0x10000]
    return table


def may_compose(character: str) -> bool:
    """Whether a text with it may not be in NFC: whether it is not so itself, or a mark or a jamo, or not known here."""
    if character < "\u0300":
        return False
    kind = unicodedata.category(character)
    return (
        kind[0] == "M"
        or kind == "Cn"
        or character > "\uffff"
        or "\u1100" <= character <= "\u11ff"
        or not unicodedata.is_normalized("NFC", character)
    )
