"""A source on the network stalls, lies or dies: it is tried again; where that is in vain, the next run reads it."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from minimind.corpus.retries import RETRY_DELAYS, TIMEOUT_SECONDS
from tests.system.checks import assert_all_is_well
from tests.system.installation import Installation
from tests.system.patience import wait_until
from tests.system.results import Result, Results
from tests.system.web import BEHAVIOURS, Web, serving

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
STALLED_SECONDS = (1 + len(RETRY_DELAYS)) * TIMEOUT_SECONDS  # of a download, until it gives up for the while


@pytest.fixture(scope="module")
def web(installation: Installation) -> Iterator[Web]:
    with serving(installation.corpus) as server:
        yield server


@pytest.fixture(scope="module")
def from_web(web: Web, installation: Installation) -> dict[str, str]:
    """What is published of the source when it behaves."""
    installation.forget_builds()
    installation.complete(installation.config("web", reads(web)), until="shards")
    return installation.published("web")


def reads(web: Web) -> Any:
    def change(tree: dict[str, Any]) -> None:
        tree["corpus"]["sources"] = [{"kind": "http", "name": "web", "files": [{"url": web.url}]}]

    return change


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_source_that_fails_once_is_asked_again(
    behaviour: str, web: Web, from_web: dict[str, str], healthy: Installation, results: Results
) -> None:
    seconds, state = timed(healthy, web, behaviour, [behaviour])
    assert state["type"] == "COMPLETED", state["message"]
    assert healthy.published(domain_of(behaviour)) == from_web
    results.add(Result(f"source {behaviour}, once", "corpus", "went on", seconds, None, "nothing"))


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_source_that_fails_at_every_try_is_asked_again_when_it_may_be_back(
    behaviour: str, web: Web, from_web: dict[str, str], healthy: Installation, results: Results
) -> None:
    began, web.always = time.monotonic(), behaviour
    try:
        run = healthy.start_run(healthy.config(domain_of(behaviour), reads(web)), until="shards")
        silent = STALLED_SECONDS if behaviour == "stalls" else 0.0
        wait_until(lambda: healthy.is_tried_again_later(run), 240 + silent, "stage that waits for its next try")
    finally:
        web.always = None
    ended = healthy.finish(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    assert healthy.published(domain_of(behaviour)) == from_web
    seconds = time.monotonic() - began
    results.add(Result(f"source {behaviour}, for a while", "corpus", "went on", seconds, None, "nothing"))


def test_source_that_is_gone_ends_the_run_and_the_next_one_reads_it(
    web: Web, from_web: dict[str, str], healthy: Installation, results: Results
) -> None:
    began = time.monotonic()
    seconds, state = timed(healthy, web, "is gone", ["is gone"])
    assert state["type"] == "FAILED"
    assert "404" in state["message"]
    assert_all_is_well(healthy)
    healthy.complete(healthy.config(domain_of("is gone"), reads(web)), until="shards")
    assert healthy.published(domain_of("is gone")) == from_web
    recovered = time.monotonic() - began
    results.add(Result("source is gone, once", "corpus", "ended as Failed", seconds, recovered, "nothing"))


def timed(installation: Installation, web: Web, behaviour: str, coming: list[str]) -> tuple[float, dict[str, Any]]:
    """Seconds from the start of the run until it ended, and its state."""
    web.coming = coming
    began = time.monotonic()
    config = installation.config(domain_of(behaviour), reads(web))
    ended = installation.finish(installation.start_run(config, until="shards"))
    return time.monotonic() - began, ended["state"]


def domain_of(behaviour: str) -> str:
    return re.sub(r"[^a-z]+", "-", behaviour)
