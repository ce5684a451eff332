"""How near-duplicates are searched for: numbers that trade time for recall, none of them a choice of the domain's.

A pair with Jaccard similarity J agrees in a bin of the signature with probability J, in a band of 4 bins with J^4,
and is missed if it agrees in none of the 64 bands: (1 - J^4)^64, which is 2e-8 at J = 0.7 and less above. Pairs that
look alike are then compared by their whole shingle sets, so that nothing is removed on an estimate.
"""

from collections.abc import Callable, Mapping
from typing import Any

import duckdb

from minimind.cleaning.database import make_table
from minimind.config import NearDuplicatesConfig

MIN_PAIR_JACCARD = 0.7  # below, two documents have nothing to do with each other; the split keeps such pairs together
BINS = 256
BAND_ROWS = 4
CROWD = 256  # members of a group that are all paired with each other
ESTIMATE_MARGIN = 0.12  # four standard deviations of the estimate at J = 0.7
PARTNERS = 64  # that a document is compared with in a round: the first ones, and as many of the most similar ones
MAX_ROUNDS = 8

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
    }


def compare_in_rounds(
    connection: duckdb.DuckDBPyConnection,
    queries: Mapping[str, str],
    parameters: Mapping[str, Any],
    report: Callable[[int, str], None],
) -> None:
    """Makes the tables of ROUND again and again, until no likely pair of kept documents is left to compare.

    What a round removes takes no part in the next one, so that crowds become groups and large families small ones.
    Two rounds do unless a family has more than PARTNERS or CROWD members. MAX_ROUNDS bounds families of thousands in
    which next to nothing is removed; their documents have then been compared with several hundred others each.
    `report` is told the place in ROUND, the last one from the second round on, and what is being done.
    """
    connection.execute("create table compared_pairs (i uinteger, j uinteger, jaccard double)")
    connection.execute("create table near_duplicates (number uinteger, kept_number uinteger)")
    for number in range(1, MAX_ROUNDS + 1):
        for place, name in enumerate(ROUND):
            report(place if number == 1 else len(ROUND) - 1, f"{name.replace('_', ' ')}, round {number}")
            make_table(connection, name, queries[name], parameters)
            if name == "chosen_pairs" and not connection.execute("select 1 from chosen_pairs limit 1").fetchone():
                return
