"""What a reader of the report sees of the documents: examples of every reason, and texts before and after.

All are drawn with a seed, so that nobody chose them and the same cleaning shows the same ones.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minimind.audit.difference import Piece, difference
from minimind.audit.documents import Audit

SEED = 1
EXAMPLES = 3  # of a reason
EXCERPT_CHARS = 320
DRAWN = 200  # documents that are looked at for a change
CHANGES = 5  # of them that are shown
COMPARED_CHARS = 200_000
DIFFERENCE_CHARS = 1_200


class Example(NamedTuple):
    document_id: str
    source: str
    step: str
    reason: str
    chars: int
    excerpt: str
    kept_document_id: str | None
    jaccard: float | None
    difference: Sequence[Piece]  # from the kept document to this one, for a near-duplicate


class Change(NamedTuple):
    document_id: str
    source: str
    chars_before: int
    chars_after: int
    difference: Sequence[Piece]


@dataclass(frozen=True)
class Changes:
    drawn: int  # documents looked at
    changed: int  # of them, in more than blank space at the ends
    shown: Sequence[Change]


def draw_examples(audit: Audit) -> list[Example]:
    """Up to EXAMPLES removed documents of each reason."""
    rows = audit.rows("examples", seed=str(SEED), examples=EXAMPLES, excerpt_chars=EXCERPT_CHARS)
    return [
        Example(
            row["document_id"],
            row["source"],
            row["step"],
            row["reason"],
            row["chars"],
            re.sub(r"\n\s*\n", "\n", row["excerpt"]),
            kept := row["kept_document_id"],
            audit.jaccard(row["document_id"], kept) if kept else None,
            audit.compared(kept, row["document_id"], EXCERPT_CHARS) if kept else [],
        )
        for row in rows
    ]


def draw_changes(audit: Audit) -> Changes | None:
    """Kept documents before and after cleaning; None if the raw texts are not in the store any more."""
    if not audit.has_raw_texts:
        return None
    rows = audit.rows("changes", seed=str(SEED), drawn=DRAWN, shown=4 * CHANGES, max_chars=COMPARED_CHARS)
    shown = [
        Change(row["document_id"], row["source"], row["chars_before"], row["chars_after"], pieces)
        for row in rows
        if (pieces := difference(row["before"].strip(), row["after"].strip(), DIFFERENCE_CHARS))
    ]
    drawn = rows[0]["drawn"] if rows else min(DRAWN, int(audit.cleaning.counts["documents"]))
    return Changes(drawn, rows[0]["changed"] if rows else 0, shown[:CHANGES])
