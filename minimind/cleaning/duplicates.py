"""How near-duplicates are searched for: numbers that trade time for recall, none of them a choice of the domain's.

A pair with Jaccard similarity J agrees in a bin of the signature with probability J, in a band of 4 bins with J^4,
and is missed if it agrees in none of the 64 bands: (1 - J^4)^64, which is 2e-8 at J = 0.7 and less above. Pairs that
look alike are then compared by their whole shingle sets, so that nothing is removed on an estimate.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from minimind.cleaning.database import make_table, used_by
from minimind.cleaning.shingle_sets import count_shared_shingles
from minimind.config import NearDuplicatesConfig

MIN_PAIR_JACCARD = 0.7  # below, two documents have nothing to do with each other; the split keeps such pairs together
BINS = 256
BAND_ROWS = 4
CROWD = 256  # members of a group that are all paired with each other
ESTIMATE_MARGIN = 0.12  # four standard deviations of the estimate at J = 0.7
PARTNERS = 64  # that a document is compared with in a round: the first ones, and as many of the most similar ones
CROWD_PARTNERS = 2  # the like in the first round, of a document with more than CROWD likely pairs
MAX_ROUNDS = 8
ALL_WORDS = 2**31 - 1  # no text has as many: each is looked at as a whole
BINS_AT_ONCE = 20_000_000  # of signatures that are searched for collisions at the same time
COLLISIONS = "create table collisions (number uinteger, band usmallint, band_key ubigint, members bigint)"

ROUND = (
    "bands",
    "candidates",
    "likely_pairs",
    "chosen_pairs",
    "shingle_sets",
    "compared_pairs",
    "near_duplicates",
)


def near_duplicate_parameters(section: NearDuplicatesConfig) -> dict[str, Any]:
    """The named parameters of the SQL files about near-duplicates."""
    return section.model_dump() | {
        "min_pair_jaccard": MIN_PAIR_JACCARD,
        "bins": BINS,
        "band_rows": BAND_ROWS,
        "crowd": CROWD,
        "estimate_margin": ESTIMATE_MARGIN,
        "partners": PARTNERS,
        "all_words": ALL_WORDS,
    }


def find_collisions(connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, Any]) -> None:
    """Makes the table `collisions`, so many bands at a time that what is held at once stays bounded."""
    documents = connection.execute("select count(*) from sound_documents").fetchone()
    assert documents is not None
    slices = max(1, -(-documents[0] * BINS // BINS_AT_ONCE))
    bands = BINS // BAND_ROWS
    width = -(-bands // slices)
    connection.execute(COLLISIONS)
    for first in range(0, bands, width):
        asked = {**parameters, "first_band": first, "end_band": first + width}
        connection.execute(f"insert into collisions {query}", used_by(query, asked))


def compare_in_rounds(
    connection: duckdb.DuckDBPyConnection,
    queries: Mapping[str, str],
    parameters: Mapping[str, Any],
    working: Path,
    report: Callable[[str], None],
) -> None:
    """Makes the tables of ROUND again and again, until no likely pair of kept documents is left to compare.

    What a round removes takes no part in the next one, so that crowds become groups and large families small ones.
    Two rounds do unless a family has more than PARTNERS or CROWD members. MAX_ROUNDS bounds families of thousands in
    which next to nothing is removed; their documents have then been compared with several hundred others each.
    `report` is told what is being done.
    """
    connection.execute("create table compared_pairs (i uinteger, j uinteger, jaccard double)")
    connection.execute("create table near_duplicates (number uinteger, kept_number uinteger)")
    for number in range(1, MAX_ROUNDS + 1):
        asked = {**parameters, "crowd_partners": CROWD_PARTNERS if number == 1 else PARTNERS}
        for name in ROUND:
            report(f"{name}, round {number}")
            if name == "shingle_sets":
                count_shared_shingles(connection, queries[name], asked, working / "shingles")
            else:
                make_table(connection, name, queries[name], asked)
            if name == "chosen_pairs" and not connection.execute("select 1 from chosen_pairs limit 1").fetchone():
                return
