"""The document of one record, as JSON lines, Parquet and the hub give it, or the reason why it makes none."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from minimind.corpus.document import Document
from minimind.corpus.sources.protocol import Skipped, Unit

FIELDS = ("id", "text", "title", "source", "license", "date")
MAX_DOCUMENT_BYTES = 100_000_000  # of a document's fields together, a line or a row; longer ones are unreadable
SORTABLE_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}([T ].*)?)?)?")  # what cleaning takes for a date
NUL, HALF_PAIR = "a NUL character", "half of a surrogate pair"
REPAIRS = {
    NUL: "NUL characters removed",
    HALF_PAIR: "halves of surrogate pairs replaced by U+FFFD",
}
MENDED = ("text", "title")
REPAIRED, BETWEEN_REPAIRS = "repaired", "; "  # the note in a document's metadata, and what separates several
NOTHING = "nothing in it"  # why a blank text is skipped
SHOWN_COLUMNS = 20
TYPES = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True)
class Place:
    """Where a stream comes from, and what its documents take over from that."""

    source: str
    path: str  # as messages name it
    whole: str  # the id of a document that is the whole stream
    unit: Unit  # "file" or "member"
    license: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def noted(place: Place, **notes: str | None) -> Place:
    """The place with notes that its documents take over as metadata: `encoding`, `repaired`. Those of None are none."""
    known = {name: note for name, note in notes.items() if note}
    return replace(place, metadata={**place.metadata, **known}) if known else place


class UnfitError(Exception):
    """A record that makes no document; carries the reason in words."""


def make_document(record: Any, place: Place) -> Document | Skipped:
    """The document of a record with the keys of FIELDS, none of a blank text; others are left aside.

    Raises UnfitError.
    """
    if not isinstance(record, Mapping):
        raise UnfitError(f"it is {kind_of(record)}; an object with id and text was expected")
    identifier, text = record.get("id"), record.get("text")
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    fields: dict[str, Any] = {"id": identifier, "text": text}
    for name in fields:
        if record.get(name) is None:
            raise UnfitError(f"{name} is missing")
    fields |= {name: record.get(name) for name in ("title", "source", "license")}
    fields["date"] = date_of(record.get("date"))
    metadata = dict(place.metadata)
    repairs = [place.metadata[REPAIRED]] if REPAIRED in place.metadata else []
    for name in MENDED:
        if isinstance(fields[name], str):
            fields[name], done = mend(fields[name])
            repairs += done
    if repairs:
        metadata[REPAIRED] = BETWEEN_REPAIRS.join(dict.fromkeys(repairs))
    for name, value in fields.items():
        check_string(name, value)
    check_size(fields)
    if not fields["text"].strip():
        return Skipped(place.path, NOTHING)
    metadata |= {key: fields[name] for key, name in (("origin", "source"), ("date", "date")) if fields[name]}
    return Document(
        document_id=f"{place.source}/{identifier}",
        text=fields["text"],
        source=place.source,
        title=fields["title"] or None,
        license=fields["license"] or place.license,
        metadata=metadata,
    )


def check_string(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise UnfitError(f"{name} is {kind_of(value)}; a string was expected")
    if name == "id" and not value.strip():
        raise UnfitError("id is empty")
    if name not in MENDED and (problems := what_is_broken(value)):
        raise UnfitError(f"{name} holds {' and '.join(problems)}; correct it")


def check_size(fields: Mapping[str, str | None]) -> None:
    """Raises UnfitError if they are too long in UTF-8, as which they are stored; characters may be four bytes each."""
    if sum(len(value.encode()) for value in fields.values() if value) > MAX_DOCUMENT_BYTES:
        raise UnfitError(f"it has more than {MAX_DOCUMENT_BYTES:,} bytes; split it")


def mend(text: str) -> tuple[str, list[str]]:
    """The text without what no text has, and all that was done for that."""
    problems = what_is_broken(text)
    if problems:
        text = text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text, [REPAIRS[problem] for problem in problems]


def what_is_broken(text: str) -> list[str]:
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return [NUL, HALF_PAIR] if "\0" in text else [HALF_PAIR]
    return [NUL] if b"\0" in content else []  # in bytes, a search for NUL is fast


def check_columns(names: Sequence[str]) -> None:
    """Raises UnfitError if a table has no id, no text, or one of the columns twice."""
    missing = [name for name in ("id", "text") if name not in names]
    if missing:
        shown = ", ".join(names[:SHOWN_COLUMNS]) + (", ..." if len(names) > SHOWN_COLUMNS else "")
        raise UnfitError(
            f"it has no column {' and none '.join(missing)}; its columns are {shown}. Rename or add what is missing"
        )
    twice = [name for name in FIELDS if names.count(name) > 1]
    if twice:
        raise UnfitError(f"it has the column {twice[0]} twice; rename one of them")


def date_of(value: Any) -> Any:
    """The date as ISO text; anything that is no string, date or None is handed back for check_string to refuse."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, str) and value:
        if (known := iso_date(value)) is None:
            raise UnfitError(f"date is {value[:40]!r}; write it as 2026-05-31, 2026-05 or 2026")
        return known
    return value


def iso_date(text: str) -> str | None:
    """The ISO date or time, or the month or year of one, in a form that sorts as text; None if it is none.

    `20260531` and `2026-W22-7` become `2026-05-31`; what sorts stays as it is.
    """
    if len(text) <= len("2026-05") and SORTABLE_DATE.fullmatch(text):
        return text
    for kind in (date, datetime):
        with suppress(ValueError):
            found = kind.fromisoformat(text).isoformat()
            return text if SORTABLE_DATE.fullmatch(text) else found
    return None


def kind_of(value: Any) -> str:
    return "null" if value is None else TYPES.get(type(value), f"of the type {type(value).__name__}")
