"""Two workers poll one work pool, and both take up the same domain."""

import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.services import WORKER_NAME
from tests.flows.domain import REPRODUCIBLE
from tests.system.checks import assert_all_is_well, assert_nothing_lost
from tests.system.fleeting import send
from tests.system.installation import Installation
from tests.system.patience import wait_until
from tests.system.results import Result, Results

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    ("deployments", "outcome"),
    [
        (("domain", "domain"), "the second waited for the deployment's limit"),
        (("domain", "again"), "both ran; each stage was built once"),
    ],
    ids=["one-deployment", "two-deployments"],
)
def test_two_workers_build_each_stage_once(
    deployments: tuple[str, str], outcome: str, healthy: Installation, results: Results
) -> None:
    domain = f"two-workers-{deployments[1]}"
    config = healthy.config(domain)
    expected = healthy.undisturbed("training")
    healthy.forget_builds()
    with healthy.second_worker(domain) as second:
        began = time.monotonic()
        ended = one_run_each(healthy, second, domain, config, deployments)
    assert [run["state_type"] for run in ended] == ["COMPLETED", "COMPLETED"], [run["state"] for run in ended]
    assert [taken_by(run) for run in ended] == [domain, WORKER_NAME]
    assert_nothing_lost(healthy.store_of(domain), healthy.mlflow_uri, expected)
    for stage in REPRODUCIBLE:
        assert len(healthy.store_of(domain).manifests(stage, domain)) == 1
    first, second_run = sorted(ended, key=lambda run: run["start_time"])
    one_after_another = first["end_time"] <= second_run["start_time"]
    assert one_after_another == (deployments[0] == deployments[1])
    name = f"two workers, one domain in {len(set(deployments))} deployment(s)"
    results.add(Result(name, "every stage", outcome, time.monotonic() - began, None, "nothing"))
    assert_all_is_well(healthy)


def one_run_each(
    installation: Installation, second: psutil.Process, name: str, config: Path, deployments: tuple[str, str]
) -> list[dict[str, Any]]:
    """The runs once they have ended: the second worker's, then the first one's.

    One worker stands still until the other has started its run: it takes nothing, and what it had started works on.
    """
    first = installation.service("worker")
    assert first, "worker is not up"
    pairs, runs = ((first, second, name), (second, first, WORKER_NAME)), []
    try:
        for deployment, (still, awake, worker) in zip(deployments, pairs, strict=True):
            send([still], signal.SIGSTOP)
            send([awake], signal.SIGCONT)
            runs.append(run := installation.start_run(config, deployment, until="training"))
            wait_until(lambda run=run: installation.run(run)["start_time"], 240, f"run that {worker} starts")
    finally:
        send([first, second], signal.SIGCONT)
    return [installation.finish(run) for run in runs]


def taken_by(run: dict[str, Any]) -> str | None:
    """The name of the worker."""
    return (run["labels"] or {}).get("prefect.worker.name")
