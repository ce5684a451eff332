"""One training at a time on a GPU: a slot of a concurrency limit of Prefect, held while the device is busy.

The slot is a lease that ends by itself when its holder dies. Prefect's own context manager gives a lease up at the
third failed renewal, so that a server which is away for half a minute would leave a training without its slot for
hours, and let a second one start beside it. Here renewing goes on until the block ends; a lease that has run out is
asked for anew.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import ConcurrencyLeaseHolder, StateType
from prefect.client.schemas.responses import ConcurrencyLimitWithLeaseResponse
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_run_logger

from minimind.store import Report, Store
from tasks.run import Run
from tasks.run_labels import SLOT, label_run, run_id

LEASE_SECONDS = 90.0  # until the server takes back the slot of a run that was killed
RENEW_SECONDS = 20.0
MAX_WAIT_SECONDS = 15.0  # between two requests of a run that waits
LOCKED, GONE = 423, 410


def queueing(run: Run) -> Store:
    """The run's store, which measures and builds only while the run holds its slot."""
    return replace(run.store, turn=partial(held, run.slot, run.store.report))


@contextmanager
def held(name: str, report: Report) -> Iterator[None]:
    """A slot of the limit `name` while the block runs, waited for in the order in which runs happen to ask.

    Nothing is held outside of a flow run, with an empty name, and where the server has no such limit.
    """
    this_run = run_id()
    if this_run is None or not name:
        yield
        return
    slot = Slot(name, this_run)
    slot.wait(report)
    try:
        yield
    finally:
        slot.release()


class Slot:
    """The lease of one run: waited for, renewed by a thread, released."""

    def __init__(self, name: str, flow_run_id: UUID) -> None:
        self.name = name
        self.holder = ConcurrencyLeaseHolder(type="flow_run", id=flow_run_id)
        self.log = get_run_logger()
        self.lease: UUID | None = None
        self.ended = threading.Event()
        self.keeper = threading.Thread(target=copy_context().run, args=(self._keep,), name=f"slot {name}", daemon=True)

    def wait(self, report: Report) -> None:
        """Returns once the slot is held, or if there is no such limit; says for whom it waits."""
        said = ""
        with get_client(sync_client=True) as client:
            while True:
                answer = self._ask(client)
                if isinstance(answer, ConcurrencyLimitWithLeaseResponse):
                    break
                text = f"waiting for {self.name}: {', '.join(holders(client, self.name)) or answer}"
                if text != said:
                    self.log.info("training: %s", text)
                    said = text
                report("training", 0, 1, text)
                time.sleep(random.uniform(0.3, 1) * MAX_WAIT_SECONDS)
        if not answer.limits:
            self.log.info("training: the server has no concurrency limit %s, so nothing is waited for", self.name)
            return
        self.lease = answer.lease_id
        label_run(SLOT, self.name)
        self.keeper.start()

    def release(self) -> None:
        self.ended.set()
        if self.keeper.ident is None:
            return
        self.keeper.join(timeout=RENEW_SECONDS)
        try:
            if self.lease:
                with get_client(sync_client=True) as client:
                    client.release_concurrency_slots_with_lease(self.lease)
        except httpx.HTTPError as error:
            self.log.warning("%s could not be given back (%s); it is free in %g s", self.name, error, LEASE_SECONDS)
        label_run(SLOT, "")

    def _ask(self, client: SyncPrefectClient) -> ConcurrencyLimitWithLeaseResponse | str:
        """The lease, without limits where there is no such limit; else why there is none now."""
        try:
            answer = client.increment_concurrency_slots_with_lease(
                [self.name], 1, "concurrency", LEASE_SECONDS, self.holder
            )
        except PrefectHTTPStatusError as error:
            taken = error.response.status_code == LOCKED
            return "all its slots are taken" if taken else f"the server answers {error.response.status_code}"
        except httpx.HTTPError as error:
            return f"the server does not answer ({type(error).__name__})"
        return ConcurrencyLimitWithLeaseResponse.model_validate(answer.json())

    def _keep(self) -> None:
        problem = ""
        with get_client(sync_client=True) as client:
            while not self.ended.wait(RENEW_SECONDS):
                before, problem = problem, self._renew(client)
                if problem and problem != before:
                    self.log.warning("%s is not held at the moment: %s; the training goes on", self.name, problem)
                elif before and not problem:
                    self.log.info("%s is held again", self.name)

    def _renew(self, client: SyncPrefectClient) -> str:
        """Why the lease is not held; empty if it is. A lease that is gone is asked for anew."""
        try:
            if self.lease:
                client.renew_concurrency_lease(self.lease, LEASE_SECONDS)
                return ""
        except PrefectHTTPStatusError as error:
            if error.response.status_code != GONE:
                return f"the server answers {error.response.status_code}"
            self.lease = None
        except httpx.HTTPError as error:
            return f"the server does not answer ({type(error).__name__})"
        answer = self._ask(client)
        if isinstance(answer, str):
            return f"the lease has run out, and {answer}"
        self.lease = answer.lease_id
        return ""


def holders(client: SyncPrefectClient, name: str) -> list[str]:
    """The names of the runs that hold a slot of the limit; empty where the server does not say."""
    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    try:
        return sorted(
            run.name for run in client.read_flow_runs(flow_run_filter=running) if run.labels.get(SLOT) == name
        )
    except httpx.HTTPError:
        return []
