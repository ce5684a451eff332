"""Something is killed in the middle of a run: it ends or goes on, nothing is left, the next run makes the same bytes.

One run, one fault, at a time; the installation is shared, as a machine is that stays up for months.
"""

import re
import time

import pytest

from tests.system.checks import LEFT_SECONDS, assert_all_is_well, assert_nothing_lost
from tests.system.faults import FAULTS, UNTIL, Caught, Fault, catch
from tests.system.installation import Installation
from tests.system.patience import wait_until
from tests.system.results import Result, Results

pytestmark = [pytest.mark.system, pytest.mark.timeout(1500)]
QUICK = {("flow killed", "cleaning"), ("worker and flow killed", "cleaning"), ("cancelled by the API", "cleaning")}


def cases() -> list[object]:
    pairs = [(fault, moment) for fault in FAULTS for moment in fault.moments]
    return [
        pytest.param(
            fault,
            moment,
            id=f"{fault.name.replace(' ', '-')}-in-{moment}",
            marks=[pytest.mark.quick_system] if (fault.name, moment) in QUICK else [],
        )
        for fault, moment in pairs
    ]


@pytest.mark.parametrize(("fault", "moment"), cases())
def test_fault_is_survived(fault: Fault, moment: str, healthy: Installation, results: Results) -> None:
    survive(fault, moment, healthy, results)


@pytest.mark.parametrize("moment", UNTIL)
def test_death_of_postgresql_is_survived(moment: str, healthy_team: Installation, results: Results) -> None:
    fault = Fault("PostgreSQL killed", lambda it: it.kill_service("PostgreSQL"))
    survive(fault, moment, healthy_team, results)


def survive(fault: Fault, moment: str, installation: Installation, results: Results) -> None:
    domain = re.sub(r"[^a-z]+", "-", f"{fault.name} {moment}".lower())
    config = installation.config(domain)
    until = UNTIL[moment]
    expected = installation.undisturbed(until)
    installation.forget_builds()
    caught = catch(installation, installation.start_run(config, until=until), moment)
    hurt_at = time.monotonic()
    try:
        fault.inject(caught)
    finally:
        caught.let_go()
    wait_for_end(caught, fault)
    seconds = time.monotonic() - hurt_at
    assert_all_is_well(installation, LEFT_SECONDS + fault.noticed_seconds)
    recovered = None
    if not fault.run_goes_on:
        installation.complete(config, until=until)
        recovered = time.monotonic() - hurt_at
    assert_nothing_lost(installation.store_of(domain), installation.mlflow_uri, expected)
    outcome = "went on" if fault.run_goes_on else f"ended as {fault.ends_as.title()}"
    results.add(Result(fault.name, moment, outcome, seconds, recovered, lost_words(caught, fault)))
    assert_all_is_well(installation)


def wait_for_end(caught: Caught, fault: Fault) -> None:
    """In the state that is expected; a run that has no process any more is ended within two minutes."""
    seconds = (300.0 if fault.run_goes_on else LEFT_SECONDS) + fault.noticed_seconds
    state: dict[str, str] = {}

    def has_ended() -> bool:
        state.update(caught.installation.run(caught.run)["state"])
        return state["type"] == fault.ends_as

    what = f"end of the run, {fault.name}"
    wait_until(has_ended, seconds, what, seen=lambda: f"; it is {state['type']}: {state['message']}")


def lost_words(caught: Caught, fault: Fault) -> str:
    if fault.run_goes_on:
        return "nothing"
    if caught.checkpoint:
        return f"{max(0, caught.step - caught.checkpoint)} of {caught.step} steps" if caught.step else "nothing"
    return "the cleaning begun"
