"""Labels of a flow run that tell others what it is about: automations read them, and runs that wait for one another."""

from contextlib import suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

STAGE = "minimind.stage"  # the last stage that was begun
SLOT = "minimind.slot"  # the limit of which the run holds a slot; empty: none


def run_id() -> UUID | None:
    """Of the flow run that this code is part of; None outside of one."""
    return UUID(flow_run.id) if flow_run.id else None


def label_run(label: str, value: str) -> None:
    """Sets a label; a server that is away keeps the old one, as no run is to end for that."""
    if (this_run := run_id()) is None:
        return
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        client.update_flow_run_labels(this_run, {label: value})
