"""A lease that ran out while the server was away is not taken back before its run has had time to renew it."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from flows.servers import prefect_settings


def test_lease_that_ran_out_meanwhile_can_be_renewed_after_a_start_and_ends_after_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.server.concurrency.lease_storage import get_concurrency_lease_storage
    from prefect.settings import PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE, temporary_settings

    from flows import lease_storage

    module = prefect_settings(tmp_path)["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]
    with temporary_settings({PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE: module}):
        made_by_prefect = get_concurrency_lease_storage()
    assert isinstance(made_by_prefect, lease_storage.ConcurrencyLeaseStorage)
    storage = lease_storage.ConcurrencyLeaseStorage(tmp_path)

    def expired(seconds_after_start: float) -> list[object]:
        monkeypatch.setattr(lease_storage, "_first_asked", time.monotonic() - seconds_after_start)
        return list(asyncio.run(storage.read_expired_lease_ids()))

    first, second = (asyncio.run(storage.create_lease([uuid4()], timedelta(seconds=-10))) for _ in range(2))
    assert expired(30) == []
    assert asyncio.run(storage.renew_lease(first.id, timedelta(seconds=300)))
    assert expired(61) == [second.id]
