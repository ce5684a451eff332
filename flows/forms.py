"""How Prefect's pages make forms of the requests of flows."""

from typing import Any

from pydantic import ConfigDict


def numbered(schema: dict[str, Any]) -> None:
    """The fields in their order: PostgreSQL keeps a schema's keys in one of its own."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position


FORM = ConfigDict(extra="forbid", json_schema_extra=numbered)  # Prefect refuses what does not fit
