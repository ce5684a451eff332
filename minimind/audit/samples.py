"""What a reader of the report sees of the documents: examples of every reason, and texts before and after.

All are drawn with a seed, so that nobody chose them and the same cleaning shows the same ones. Removed documents and
raw texts hold personal data as they were read; what is found of it gets a bar.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from minimind.audit.difference import Piece, difference
from minimind.audit.documents import Audit
from minimind.cleaning.personal_data import find
from minimind.store import Manifest

SEED = 1
EXAMPLES = 3  # of a reason
EXCERPT_CHARS = 320
DRAWN = 200  # documents that are looked at for a change
CHANGES = 5  # of them that are shown
COMPARED_CHARS = 50_000
DIFFERENCE_CHARS = 1_200
BAR = "█████"  # over personal data


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
    reworded: int  # of those, in more than blank space anywhere; they are shown first
    shown: Sequence[Change]


def draw_examples(audit: Audit) -> list[Example]:
    """Up to EXAMPLES removed documents of each reason."""
    rows = audit.rows("examples", seed=str(SEED), examples=EXAMPLES, excerpt_chars=2 * EXCERPT_CHARS)
    return [example_of(audit, row) for row in rows]


def example_of(audit: Audit, row: Mapping[str, Any]) -> Example:
    key, kept = row["document_id"], row["kept_document_id"]
    pieces: Sequence[Piece] = []
    if kept:
        before, after = (" ".join(audit.text(one, COMPARED_CHARS).split()) for one in (kept, key))
        pieces = difference(blacked_out(before, audit.cleaning), blacked_out(after, audit.cleaning), EXCERPT_CHARS)
    excerpt = re.sub(r"\n\s*\n", "\n", blacked_out(row["excerpt"], audit.cleaning))
    jaccard = audit.jaccard(key, kept) if kept else None
    return Example(
        key, row["source"], row["step"], row["reason"], row["chars"], excerpt[:EXCERPT_CHARS], kept, jaccard, pieces
    )


def draw_changes(audit: Audit) -> Changes | None:
    """Kept documents before and after cleaning; None if the raw texts are not in the store any more."""
    if not audit.has_raw_texts:
        return None
    rows = audit.rows("changes", seed=str(SEED), drawn=DRAWN, shown=4 * CHANGES, max_chars=COMPARED_CHARS)
    shown = islice((change for row in rows if (change := change_of(audit, row)).difference), CHANGES)
    if not rows:
        return Changes(min(DRAWN, int(audit.cleaning.counts["documents"])), 0, 0, [])
    return Changes(rows[0]["drawn"], rows[0]["changed"], rows[0]["reworded"], list(shown))


def change_of(audit: Audit, row: Mapping[str, Any]) -> Change:
    before, after = (blacked_out(row[side].strip(), audit.cleaning) for side in ("before", "after"))
    pieces = difference(before, after, DIFFERENCE_CHARS)
    return Change(row["document_id"], row["source"], row["chars_before"], row["chars_after"], pieces)


def blacked_out(text: str, cleaning: Manifest) -> str:
    """The text with a bar over what looks like personal data of any kind, looked for by the cleaning or not."""
    pieces, end = [], 0
    for hit in find(text, cleaning.config.get("personal_data", {}).get("phone_region")):
        pieces += [text[end : hit.start_char], BAR]
        end = hit.end_char
    return "".join([*pieces, text[end:]])
