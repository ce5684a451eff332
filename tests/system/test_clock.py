"""The machine's clock jumps three days forward and then five back in the middle of a training.

libfaketime moves the wall clock of all processes of the run, its Prefect server included; the monotonic clock goes on,
as it does when a real clock is set.
"""

import time
from pathlib import Path

import pytest

from minimind.store import Store
from tests.flows.domain import Domain, published
from tests.system.faults import building, is_at, last_step
from tests.system.installation import Installation, Undisturbed, wait_until
from tests.system.results import Result, Results

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (apt-get install libfaketime)")
def test_jumping_clock_changes_no_byte(
    tmp_path: Path, installation: Installation, undisturbed: Undisturbed, results: Results
) -> None:
    domain = Domain(installation.config("clock"), installation.corpus, tmp_path / "store")
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    faked = {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    process = domain.started("--until", "training", LD_PRELOAD=str(LIBRARY), **faked)
    wait_until(lambda: is_at(domain.store, "training"), 180, "training at work", pause=0.01)
    jumped_at, step = time.monotonic(), last_step(building(domain.store, "training"))
    clock.write_text("+3d\n")
    wait_until(lambda: last_step(building(domain.store, "training")) != step, 60, "step after the jump", pause=0.01)
    clock.write_text("-2d\n")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-5000:]
    seconds = time.monotonic() - jumped_at
    assert published(Store(domain.store, "clock")) == undisturbed("training")
    again = domain.run("--until", "training")["stages"]
    assert all(stage["reused"] for stage in again.values() if stage), "with the clock right again"
    results.add(Result("clock 3 days forward, then 5 back", "training", "went on", seconds, None, "nothing"))
