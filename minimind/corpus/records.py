"""The document of one record, as JSON lines, Parquet and the hub give it, or the reason why it makes none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from minimind.corpus.document import Document
from minimind.corpus.sources.protocol import Unit

FIELDS = ("id", "text", "title", "source", "license", "date")
DATE = re.compile(r"\d{4}(-\d{2})?")
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


class UnfitError(Exception):
    """A record that makes no document; carries the reason in words."""


def make_document(record: Any, place: Place) -> Document:
    """The document of a record with the keys of FIELDS; others are left aside. Raises UnfitError."""
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
    for name, value in fields.items():
        check_string(name, value)
    metadata = dict(place.metadata)
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
    if name in ("id", "text") and not value.strip():
        raise UnfitError(f"{name} is empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UnfitError(f"{name} holds half of a surrogate pair at character {error.start + 1:,}") from None


def date_of(value: Any) -> Any:
    """The date as ISO text; anything that is no string, date or None is handed back for check_string to refuse."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, str) and value and not DATE.fullmatch(value):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise UnfitError(f"date is {value[:40]!r}; write it as 2026-05-31, 2026-05 or 2026") from None
    return value


def kind_of(value: Any) -> str:
    return "null" if value is None else TYPES.get(type(value), f"of the type {type(value).__name__}")
