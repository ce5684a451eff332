"""In how many long texts a 13-gram stands, beyond the sample by which these texts are measured.

Decontamination leaves n-grams aside that many documents have. Of a long text, only a sample of its n-grams is kept, so
that all others are looked for in the text itself: those alone that decide about a document, and only where there are
such, which saves reading the texts of most corpora. Counted is in SQL; here is the loop over the texts.
"""

from functools import partial
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import PythonUDFType

from minimind.cleaning.database import Parameters, make_table, without_rows
from minimind.cleaning.kernels import SAMPLED_BELOW, Array, compiled, hash_runs, hash_words, longest
from minimind.cleaning.text_functions import buffers_of, constant, folded_letters

PLACES = 32  # of the sieve, for each n-gram or more: of other n-grams, one in so many passes
U = np.uint64


def long_text_parameters() -> dict[str, Any]:
    """The named parameters of the SQL files about long texts."""
    return {"sampled_below": int(SAMPLED_BELOW)}


def count_in_long_texts(connection: duckdb.DuckDBPyConnection, name: str, query: str, parameters: Parameters) -> None:
    """Makes the table of the deciding grams that long texts have; reads no text where there are no such grams."""
    grams = connection.execute("select gram from deciding_grams").fetchnumpy()["gram"]
    add_search(connection, grams)
    make_table(connection, name, query if len(grams) else without_rows(query), parameters)


def add_search(connection: duckdb.DuckDBPyConnection, grams: Array) -> None:
    """Gives SQL long_text_runs(text, words, long_text_words): the runs of a long text that are among `grams` uint64.

    Runs of its sample are none of them; a few that are not among `grams` are.
    """
    search = partial(long_text_run_column, folded_letters(), sieve_of(grams))
    takes = ["VARCHAR", "INTEGER", "INTEGER"]
    connection.create_function("long_text_runs", search, takes, "UBIGINT[]", type=PythonUDFType.ARROW)  # type: ignore[arg-type]


def sieve_of(grams: Array) -> Array:
    """bool, a power of two of places: those are true that the last bits of a gram say."""
    sieve = np.zeros(1 << (PLACES * len(grams)).bit_length(), bool)
    sieve[grams & U(len(sieve) - 1)] = True
    return sieve


def long_text_run_column(
    folded: Array, sieve: Array, texts: pa.ChunkedArray, size: pa.ChunkedArray, long_text_words: pa.ChunkedArray
) -> pa.Array:
    found, starts = long_text_runs(*buffers_of(texts), folded, constant(size), constant(long_text_words), sieve)
    return pa.ListArray.from_arrays(starts, found)


@compiled
def long_text_runs(data: Array, offsets: Array, folded: Array, size: int, long_text_words: int, sieve: Array) -> Any:
    """Hashes of each long text's runs beyond its sample that pass the sieve, and int32 [texts + 1] where each begins.

    Repeated runs are repeated. Texts of fewer words have none.
    """
    texts = offsets.shape[0] - 1
    words = np.empty(longest(offsets) // 2 + 1, np.uint64)
    hashes = np.empty((offsets[texts] - offsets[0]) // 2 + texts, np.uint64)
    starts = np.zeros(texts + 1, np.int32)
    last_bits = U(sieve.shape[0] - 1)
    count = 0
    for text in range(texts):
        found = hash_words(data, offsets[text], offsets[text + 1], folded, words)
        runs = hash_runs(words[:found], size, words) if found >= long_text_words else 0
        for place in range(runs):
            run = words[place]
            if run >= SAMPLED_BELOW and sieve[run & last_bits]:
                hashes[count] = run
                count += 1
        starts[text + 1] = count
    return hashes[:count].copy(), starts
