"""Two workers poll one work pool, and both take up the same domain."""

import time

import pytest

from minimind.store import Store
from tests.flows.domain import REPRODUCIBLE
from tests.system.checks import assert_all_is_well, assert_nothing_lost
from tests.system.installation import Installation, Undisturbed
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
    deployments: tuple[str, str], outcome: str, healthy: Installation, undisturbed: Undisturbed, results: Results
) -> None:
    domain = f"two-workers-{deployments[1]}"
    config = healthy.config(domain)
    expected = undisturbed("training")
    healthy.forget_builds()
    with healthy.second_worker():
        began = time.monotonic()
        runs = [healthy.start_run(config, deployment, until="training") for deployment in deployments]
        ended = [healthy.finish(run) for run in runs]
    assert [run["state_type"] for run in ended] == ["COMPLETED", "COMPLETED"], [run["state"] for run in ended]
    assert_nothing_lost(healthy, domain, expected)
    for stage in REPRODUCIBLE:
        assert len(Store(healthy.store.root, domain).manifests(stage, domain)) == 1
    first, second = sorted(ended, key=lambda run: run["start_time"])
    one_after_another = first["end_time"] <= second["start_time"]
    assert one_after_another == (deployments[0] == deployments[1])
    name = f"two workers, one domain in {len(set(deployments))} deployment(s)"
    results.add(Result(name, "every stage", outcome, time.monotonic() - began, None, "nothing"))
    assert_all_is_well(healthy)
