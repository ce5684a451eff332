"""Labels of a flow run that tell others what it is about: automations read them, and runs that wait for one another."""

import time
from contextlib import suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

STAGE = "minimind.stage"  # the last stage that was begun
SLOT = "minimind.slot"  # the limit of which the run holds a slot; empty: none
PAUSES_SECONDS = (0.0, 0.05, 0.2)


def run_id() -> UUID | None:
    """Of the flow run that this code is part of; None outside of one."""
    return UUID(flow_run.id) if flow_run.id else None


def label_run(label: str, value: str) -> None:
    """Sets a label; a server that is away or busy keeps the old one, as no run is to end or to wait for that.

    On SQLite Prefect answers 503 where two requests write at once, and its client would wait two seconds each time.
    """
    if (this_run := run_id()) is None:
        return
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), get_client(sync_client=True) as client:
        for seconds in PAUSES_SECONDS:
            time.sleep(seconds)
            with suppress(httpx.HTTPError):
                client.update_flow_run_labels(this_run, {label: value})
                return
