"""Personal data in texts: where it stands, and the text with typed placeholders instead."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import duckdb
import phonenumbers

from minimind.cleaning.detectors import (
    KINDS,
    Span,
    cards,
    emails,
    ibans,
    ip_addresses,
    phones,
    social_security_numbers,
)
from minimind.config import PersonalDataConfig
from minimind.errors import ConfigError


class Hit(NamedTuple):
    kind: str
    start_char: int
    end_char: int


def find(text: str, phone_region: str | None = None, kinds: Collection[str] = KINDS) -> list[Hit]:
    """The hits of these kinds by place; of two that overlap, the one of the kind that comes first in KINDS.

    `phone_region` is the country (ISO 3166, such as US) whose numbers may stand without a country code; None: none may.
    """
    detectors: dict[str, Callable[[str], Iterator[Span]]] = {
        "email": emails,
        "iban": ibans,
        "card": cards,
        "ssn": social_security_numbers,
        "ip": ip_addresses,
        "phone": lambda text: phones(text, phone_region),
    }
    hits: list[Hit] = []
    for kind in KINDS:
        for start, end in detectors[kind](text) if kind in kinds else ():
            place = bisect_left(hits, end, key=lambda hit: hit.start_char)
            if place == 0 or hits[place - 1].end_char <= start:
                hits.insert(place, Hit(kind, start, end))
    return hits


def mask(text: str, phone_region: str | None = None, kinds: Collection[str] = KINDS) -> str:
    """The text with `<email>`, `<phone>` and so on instead of the hits of these kinds, until there is none."""
    while hits := find(text, phone_region, kinds):
        pieces, end = [], 0
        for hit in hits:
            pieces += [text[end : hit.start_char], f"<{hit.kind}>"]
            end = hit.end_char
        text = "".join([*pieces, text[end:]])
    return text


def mask_lines(text: str, starts: Collection[int], phone_region: str | None, kinds: Collection[str]) -> str:
    """The like for a text whose hits are known: only lines in which one starts are looked at again."""
    pieces, done = [], 0
    for start in sorted(starts):
        if start >= done:
            begin, end = text.rfind("\n", 0, start) + 1, text.find("\n", start)
            end = len(text) if end < 0 else end
            pieces += [text[done:begin], mask(text[begin:end], phone_region, kinds)]
            done = end
    return "".join([*pieces, text[done:]])


# --- in SQL -----------------------------------------------------------------------------------------------------------


def personal_data_parameters(section: PersonalDataConfig) -> dict[str, Any]:
    """What the SQL files ask for. Raises ConfigError for a country that has no numbering plan."""
    region = section.phone_region
    if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
        problem = f"phone_region is {region}, which is no country with a numbering plan; write its two letters "
        raise ConfigError("cleaning.personal_data", [problem + "(ISO 3166), such as US or DE, or null"])
    actions = {kind: getattr(section, kind) for kind in KINDS if getattr(section, kind) != "keep"}
    return {
        "phone_region": region or "",
        "found_kinds": list(actions),
        "replaced_kinds": [kind for kind, action in actions.items() if action == "replace"],
    }


def create_functions(connection: duckdb.DuckDBPyConnection) -> None:
    """`find_personal_data` and `mask_personal_data` for SQL; slow, so they are for texts that have passed the gate.

    A country is '' where there is none, because DuckDB gives null for a null without a call.
    """

    def hits_in(text: str, phone_region: str, kinds: list[str]) -> list[dict[str, str | int]]:
        hits = find(text, phone_region or None, kinds)
        return [hit._asdict() | {"bytes": len(text[hit.start_char : hit.end_char].encode())} for hit in hits]

    def masked(text: str, phone_region: str, kinds: list[str], starts: list[int]) -> str:
        return mask_lines(text, starts, phone_region or None, kinds)

    hits = "struct(kind varchar, start_char integer, end_char integer, bytes integer)[]"
    takes = ["varchar", "varchar", "varchar[]"]
    for name, function, more, returned in (("find", hits_in, [], hits), ("mask", masked, ["integer[]"], "varchar")):
        connection.create_function(f"{name}_personal_data", function, [*takes, *more], returned)
