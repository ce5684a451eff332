"""What SQL cannot do to a text, as functions that SQL calls: `repaired` and `tidied`."""

import re

import duckdb
import pyarrow as pa
from duckdb import sqltypes as types
from duckdb.func import PythonUDFType

from minimind.cleaning.encodings import repaired
from minimind.cleaning.front_matter import without_front_matter
from minimind.cleaning.page_furniture import without_form_feeds, without_page_furniture
from minimind.cleaning.reflow import reflowed


def add_normalizing_functions(connection: duckdb.DuckDBPyConnection) -> None:
    text, flag = types.VARCHAR, types.BOOLEAN
    connection.create_function("repaired", repaired_column, [text], text, type=PythonUDFType.ARROW)
    connection.create_function("tidied", tidied_column, [text, flag, flag, flag], text, type=PythonUDFType.ARROW)


def repaired_column(texts: pa.ChunkedArray) -> pa.Array:
    return pa.array([repaired(text) for text in texts.to_pylist()], pa.string())


def tidied_column(
    texts: pa.ChunkedArray, front_matter: pa.ChunkedArray, furniture: pa.ChunkedArray, reflow: pa.ChunkedArray
) -> pa.Array:
    rows = zip(*(column.to_pylist() for column in (texts, front_matter, furniture, reflow)), strict=True)
    return pa.array([tidied(*row) for row in rows], pa.string())


def tidied(text: str, drop_front_matter: bool, drop_page_furniture: bool, reflow: bool) -> str:
    """`text` without front matter and page furniture and with wrapped lines joined, until nothing changes.

    Its form feeds, which say where pages end, become line breaks.
    """
    if "\f" in text:
        text = without_form_feeds(text, drop_page_furniture)
    while True:
        tidier = without_front_matter(text) if drop_front_matter else text
        lines = tidier.split("\n")
        if drop_page_furniture:
            lines = without_page_furniture(lines)
        if reflow:
            lines = reflowed(lines)
        tidier = "\n".join(lines).strip("\n")
        if "\n\n\n\n" in tidier:
            tidier = re.sub(r"\n{4,}", "\n\n\n", tidier)
        if tidier == text:
            return text
        text = tidier
