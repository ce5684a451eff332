"""How near-duplicates are searched for: numbers that trade time for recall, none of them a choice of the domain's.

A pair with Jaccard similarity J agrees in a bin of the signature with probability J, in a band of 4 bins with J^4,
and is missed if it agrees in none of the 64 bands: (1 - J^4)^64, which is 2e-8 at J = 0.7 and less above. Pairs that
are found are then verified with their whole shingle sets, so that nothing is removed on an estimate.
"""

from typing import Any

from minimind.config import NearDuplicatesConfig

MIN_PAIR_JACCARD = 0.7  # below, two documents have nothing to do with each other; the split keeps such pairs together
BINS = 256
BAND_ROWS = 4
CROWD = 64  # members of a group that are all compared with each other
ESTIMATE_MARGIN = 0.15  # five standard deviations of the estimate


def near_duplicate_parameters(section: NearDuplicatesConfig) -> dict[str, Any]:
    """The named parameters of the SQL files about near-duplicates."""
    return section.model_dump() | {
        "min_pair_jaccard": MIN_PAIR_JACCARD,
        "bins": BINS,
        "band_rows": BAND_ROWS,
        "crowd": CROWD,
        "estimate_margin": ESTIMATE_MARGIN,
    }
