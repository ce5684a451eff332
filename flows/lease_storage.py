"""Prefect's leases on disk, none of which counts as expired in the first minute after the server has started.

A run that Prefect started holds its deployment's lease of 300 seconds and renews it every 225; Prefect ends a run whose
lease is gone. Where the server was away when the lease was to be renewed, it would take it back as soon as it starts,
before the run has tried again.
"""

import time
from uuid import UUID

from prefect.server.concurrency.lease_storage import filesystem

GRACE_SECONDS = 60.0  # a client that was refused tries again after 38 at most
_first_asked = time.monotonic()  # Prefect imports this module when its services begin


class ConcurrencyLeaseStorage(filesystem.ConcurrencyLeaseStorage):
    async def read_expired_lease_ids(self, limit: int = 100) -> list[UUID]:
        if time.monotonic() - _first_asked < GRACE_SECONDS:
            return []
        return await super().read_expired_lease_ids(limit)
