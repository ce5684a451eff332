"""The document of one record, as JSON lines, Parquet and the hub give it, or the reason why it makes none."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from minimind.corpus.document import Document
from minimind.corpus.sources.protocol import Skipped, Unit

FIELDS = ("id", "text", "title", "source", "license", "date")
DATE = re.compile(r"\d{4}(-\d{2})?")
NUL, HALF_PAIR = "a NUL character", "half of a surrogate pair"
REPAIRS = {
    NUL: "NUL characters removed",
    HALF_PAIR: "halves of surrogate pairs replaced by U+FFFD",
}
MENDED = ("text", "title")
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
    for name in ("text", "title"):
        if isinstance(fields[name], str) and (repaired := mend(fields[name])) is not None:
            fields[name], metadata["repaired"] = repaired
    for name, value in fields.items():
        check_string(name, value)
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
    if name not in MENDED and (problem := what_is_broken(value)):
        raise UnfitError(f"{name} holds {problem}; correct it")


def mend(text: str) -> tuple[str, str] | None:
    """The text without what no text has, and what was done; None if it is whole."""
    problem = what_is_broken(text)
    if problem is None:
        return None
    whole = text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole, REPAIRS[problem]


def what_is_broken(text: str) -> str | None:
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return HALF_PAIR
    return NUL if b"\0" in content else None  # in bytes, a search for NUL is fast


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
    if isinstance(value, str) and value and not is_date(value):
        raise UnfitError(f"date is {value[:40]!r}; write it as 2026-05-31, 2026-05 or 2026")
    return value


def is_date(text: str) -> bool:
    """True if the text is a date in ISO format, or a month or year of one."""
    try:
        return bool(DATE.fullmatch(text) or datetime.fromisoformat(text))
    except ValueError:
        return False


def kind_of(value: Any) -> str:
    return "null" if value is None else TYPES.get(type(value), f"of the type {type(value).__name__}")
