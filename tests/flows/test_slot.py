"""The slot that trainings share, on a real server: waited for by name, kept through a lost lease, given back."""

import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import httpx
import pytest
from domain import PROJECT, PrefectServer
from prefect import flow

from minimind.config import load_config
from minimind.errors import SourceError, SourceUnreachableError
from minimind.store import Manifest, Outcome, Recipe, Store
from tasks import explore, retries, slot
from tasks.run import Run

LIMIT = "gpu-of-the-tests"

pytestmark = pytest.mark.slow


@pytest.fixture
def api(prefect: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr(slot, "MAX_WAIT_SECONDS", 0.5)
    monkeypatch.setattr(slot, "RENEW_SECONDS", 0.3)
    with prefect.spoken_to(), httpx.Client(base_url=prefect.url, timeout=30) as client:
        client.post("/v2/concurrency_limits/", json={"name": LIMIT, "limit": 1}).raise_for_status()
        yield client
        client.delete(f"/v2/concurrency_limits/{LIMIT}").raise_for_status()


def taken(api: httpx.Client) -> int:
    return int(api.get(f"/v2/concurrency_limits/{LIMIT}").raise_for_status().json()["active_slots"])


def run_with_slot(name: str, body: Callable[[], Any], said: list[str], limit: str = LIMIT) -> Any:
    @flow(name=name, flow_run_name=name)
    def trains() -> Any:
        with slot.held(limit, lambda stage, done, total, text: said.append(text)):
            return body()

    return trains()


def started(*asked: Any) -> threading.Thread:
    """`run_with_slot` in a thread that talks to the same server."""
    thread = threading.Thread(target=copy_context().run, args=(run_with_slot, *asked), daemon=True)
    thread.start()
    return thread


def test_second_training_waits_and_says_for_whom(api: httpx.Client) -> None:
    begun, may_end = threading.Event(), threading.Event()
    said: list[str] = []

    def hold() -> None:
        begun.set()
        assert may_end.wait(60)

    second: list[int] = []
    first = started("first-domain", hold, [])
    assert begun.wait(60)
    other = started("second-domain", lambda: second.append(taken(api)), said)
    deadline = time.monotonic() + 60
    while f"waiting for {LIMIT}: first-domain" not in said and time.monotonic() < deadline:
        time.sleep(0.1)
    assert f"waiting for {LIMIT}: first-domain" in said
    assert not second
    may_end.set()
    for thread in (first, other):
        thread.join(60)
    assert second == [1]
    assert taken(api) == 0


def test_slot_is_given_back_when_a_training_fails(api: httpx.Client) -> None:
    def fail() -> None:
        assert taken(api) == 1
        raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        run_with_slot("fails", fail, [])
    assert taken(api) == 0


def test_lost_lease_is_asked_for_anew_and_the_training_goes_on(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of a server that keeps its leases in memory: it gives the slot to the next who asks."""
    held: list[slot.Slot] = []
    wait = slot.Slot.wait

    def noted(self: slot.Slot, report: Any) -> None:
        held.append(self)
        wait(self, report)

    monkeypatch.setattr(slot.Slot, "wait", noted)

    def lose_it() -> bool:
        lease = str(held[0].lease)
        api.post("/v2/concurrency_limits/decrement-with-lease", json={"lease_id": lease}).raise_for_status()
        assert taken(api) == 0
        deadline = time.monotonic() + 30
        while taken(api) == 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        return taken(api) == 1 and str(held[0].lease) != lease

    assert run_with_slot("loses-it", lose_it, [])
    assert taken(api) == 0


def test_exploration_holds_the_slot_for_its_trainings(
    api: httpx.Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(section: Any, evaluation: Any, inputs: Any, store: Store) -> Manifest:
        assert taken(api) == 0
        return store.build(Recipe("explore", {}, {}, {}, {}), lambda folder: Outcome({"taken": taken(api)}))

    monkeypatch.setattr(explore, "build", build)
    earlier = store.build(Recipe("cleaning", {}, {}, {}, {}), lambda folder: Outcome({}))
    built = dict.fromkeys(("cleaning", "tokenizer", "shards"), earlier)
    run = Run(load_config(PROJECT / "configs" / "demo.yaml"), store, "", slot=LIMIT, built=built)

    @flow
    def explores() -> float:
        return float(explore.explore(run).counts["taken"])

    assert explores() == 1
    assert taken(api) == 0


def test_server_without_the_limit_holds_nobody_up(api: httpx.Client) -> None:
    said: list[str] = []
    assert run_with_slot("unlimited", lambda: "ran", said, limit="no-such-limit") == "ran"
    assert not said


def test_no_slot_is_asked_for_outside_of_a_run() -> None:
    with slot.held(LIMIT, lambda *shown: pytest.fail("waited")):
        pass


@pytest.mark.parametrize(
    ("error", "in_deployment", "again"),
    [
        (SourceUnreachableError("no answer"), True, True),
        (SourceUnreachableError("no answer"), False, False),
        (SourceError("wrong checksum"), True, False),
        (ValueError("a defect"), True, False),
    ],
    ids=["network", "network, a person waits", "checksum", "defect"],
)
def test_only_what_may_pass_is_tried_again(
    prefect: PrefectServer, monkeypatch: pytest.MonkeyPatch, error: Exception, in_deployment: bool, again: bool
) -> None:
    from prefect import task

    monkeypatch.setattr(retries, "deployment", type("Deployment", (), {"id": "one" if in_deployment else None}))
    tries = []

    @task(**(retries.RETRIES | {"retry_delay_seconds": [0, 0, 0]}))
    def read() -> None:
        tries.append(1)
        raise error

    @flow
    def reads() -> None:
        read()

    with prefect.spoken_to(), pytest.raises(type(error)):
        reads()
    assert len(tries) == (4 if again else 1)
