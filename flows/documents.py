"""`minimind documents`: what became of a document, why, and what it resembles."""

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from flows.settings import store_root
from flows.summary import program
from minimind.audit.difference import Piece
from minimind.audit.documents import Audit, Fate, Partner, Wanted, opened, parent_corpus
from minimind.audit.visible import on_one_line, visible, visible_change
from minimind.cleaning.split import read_records
from minimind.config import Config, load_config
from minimind.errors import UserError
from minimind.masking import masked_tree
from minimind.store import Manifest, Store

DIFFERENCE_CHARS = 600
PARTNERS = 10
EXCERPT_CHARS = 230
INDENT = "  "
STYLES = {"same": "", "removed": "red", "added": "green", "skipped": "dim"}
MARKS = {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}", "skipped": " [...] "}


def look_up(
    config: Path, wanted: Wanted, document_id: str | None, limit: int, texts: Sequence[str], store: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Prints what is found; `texts` says which of `clean` and `raw` to print in full."""
    domain = load_config(config)
    root = store_root(store)
    cleaning = last_cleaning(Store(root, domain.name), config)
    corpus = parent_corpus(cleaning)
    if differs(domain, cleaning, corpus):
        made = f"this cleaning of {cleaning.created_at[:16]} was made with"
        print(f"note: {config} has other settings or sources than {made}", file=sys.stderr)
    if corpus is None and "raw" in texts:
        raise UserError(
            "the raw corpus of this cleaning is not in the store any more; "
            f"`{program()} clean {shlex.quote(str(config))}` reads it again"
        )
    with opened(cleaning, corpus) as audit:
        fates, matches = ([audit.fate(document_id)], 1) if document_id else audit.search(wanted, limit)
        found = [describe(audit, fate, texts, alone=document_id is not None) for fate in fates]
    if as_json:
        print(json.dumps({"cleaning": cleaning.fingerprint, "matches": matches, "documents": found}))
        return
    console = Console(highlight=False)
    for row in found:
        print_document(console, row)
    say_how_many(len(found), matches, cleaning)


def last_cleaning(store: Store, path: Path) -> Manifest:
    """The one that was last built or found again, as the records of the split say; the newest where there are none."""
    recorded = (store.find("cleaning", record.cleaning) for record in reversed(read_records(store)))
    cleaning = next(filter(None, recorded), None) or store.newest("cleaning")
    if cleaning is None:
        raise UserError(
            f"{store.domain} has not been cleaned in {store.root}; "
            f"`{program()} clean {shlex.quote(str(path))}` does it, --store names another store"
        )
    return cleaning


def differs(domain: Config, cleaning: Manifest, corpus: Manifest | None) -> bool:
    """Whether the config's cleaning section or sources are others; the sources of a corpus that is gone are unknown."""
    sources = masked_tree(domain.corpus.model_dump(mode="json"))["sources"]
    return cleaning.config != domain.cleaning.model_dump(mode="json") or (
        corpus is not None and corpus.config["sources"] != sources
    )


def describe(audit: Audit, fate: Fate, texts: Sequence[str], alone: bool) -> dict[str, Any]:
    """All that is printed of a document, as JSON would have it; `alone` for what is shown of a single one."""
    row: dict[str, Any] = fate._asdict()
    kept = fate.kept_document_id
    row["jaccard"] = audit.jaccard(fate.document_id, kept) if kept else None
    row["difference_from_kept"] = audit.compared(kept, fate.document_id, DIFFERENCE_CHARS) if kept else None
    if alone:
        partners, count = audit.partners(fate.document_id, PARTNERS)
        row |= {"partners": [partner._asdict() for partner in partners], "partner_count": count}
        row["difference_from_raw"] = audit.changed(fate.document_id, DIFFERENCE_CHARS)
    if "raw" in texts:
        row["raw_text"] = audit.raw_text(fate.document_id)
    if "clean" in texts:
        row["text"] = audit.text(fate.document_id)
    return row


def say_how_many(shown: int, matches: int, cleaning: Manifest) -> None:
    of = f"the {cleaning.counts['documents_in']:,} documents of cleaning {cleaning.fingerprint}"
    if not matches:
        print(f"none of {of} is like that", file=sys.stderr)
    elif shown < matches:
        print(f"{shown:,} of {matches:,} matches among {of}; --limit shows more", file=sys.stderr)


# --- on paper ---------------------------------------------------------------------------------------------------------


def print_document(console: Console, row: dict[str, Any]) -> None:
    console.print(Text(visible(row["document_id"]), "bold", overflow="fold"))
    put(console, *what_became(row))
    about = (
        on_one_line(row["title"] or "", 100),
        f"source: {visible(row['source'])}",
        f"{row['chars']:,} characters",
        f"licence: {on_one_line(row['license'] or 'unknown', 60)}",
    )
    put(console, (" · ".join(part for part in about if part), "dim"))
    if "partners" in row:
        print_particulars(console, row)
    elif "text" not in row and row["difference_from_kept"] is None:
        put(console, (on_one_line(row["excerpt"], EXCERPT_CHARS) or "(no text)", "italic"))
    if row["difference_from_kept"] is not None:
        print_difference(console, "[-kept-] {+this one+}", row["difference_from_kept"], "the texts are the same")
    for name, heading in (("raw_text", "raw text"), ("text", "clean text")):
        if name in row:
            put(console, (f"{heading}:", "bold"))
            console.print(Text(visible(row[name] or "")), soft_wrap=True)
    console.print()


def what_became(row: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if row["step"] is None:
        return [(f"kept, {row['split']}", "green")]
    told = [("removed", "red"), (f" by {row['step']}: {row['reason']}", "")]
    if row["kept_document_id"]:
        similarity = f", Jaccard {row['jaccard']:.3f}" if row["jaccard"] is not None else ""
        told.append((f" of {visible(row['kept_document_id'])}{similarity}", ""))
    return told


def print_particulars(console: Console, row: dict[str, Any]) -> None:
    for name, value in row["metadata"].items():
        put(console, (f"{on_one_line(name, 40)}: {on_one_line(value, 300)}", "dim"))
    if row["partner_count"]:
        put(console, (f"its cluster has {row['partner_count']:,} other documents:", ""))
    for partner in row["partners"]:
        put(console, (f"  {partner_in_words(Partner(**partner))}", ""))
    if row["partner_count"] > len(row["partners"]):
        put(console, (f"  and {row['partner_count'] - len(row['partners']):,} more", "dim"))
    if row["difference_from_raw"]:
        print_difference(console, "what cleaning changed, [-raw-] {+clean+}", row["difference_from_raw"])


def partner_in_words(partner: Partner) -> str:
    similarity = "     " if partner.jaccard is None else f"{partner.jaccard:.3f}"
    fate = f"kept, {partner.split}" if partner.split else f"removed, {partner.reason}"
    return f"{similarity}  {visible(partner.document_id)} ({fate})"


def print_difference(console: Console, heading: str, pieces: Sequence[Piece], if_none: str = "") -> None:
    put(console, (f"{heading}:" if pieces else if_none, "dim"))
    if pieces:
        put(console, *(marked(piece) for piece in pieces))


def marked(piece: Piece) -> tuple[str, str]:
    """Text and style; the marks are there without colours too."""
    text = visible(piece.text) if piece.kind == "same" else visible_change(piece.text)
    return MARKS[piece.kind].format(text), STYLES[piece.kind]


def put(console: Console, *parts: tuple[str, str]) -> None:
    """Indented and wrapped, without the blanks at the ends of lines that rich pads with."""
    for line in Text.assemble(*parts).wrap(console, console.width - len(INDENT), overflow="fold"):
        line.rstrip()
        console.print(Text(INDENT).append_text(line), soft_wrap=True)
