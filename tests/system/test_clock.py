"""The machine's clock jumps three days forward and then five back in the middle of a training.

A library that is loaded before all others moves the wall clock of all processes of a run: of a `minimind run` with its
Prefect server, and of all that `minimind up` starts. The monotonic clock goes on, as it does when a real clock is set,
and files keep their times. (libfaketime 0.9.10 was tried first: under it Python's `time.sleep` failed.)
"""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.checks import (
    assert_all_is_well,
    assert_no_process_is_left,
    assert_nothing_is_left,
    assert_nothing_lost,
)
from tests.system.faults import building, is_at, last_step
from tests.system.installation import Installation
from tests.system.own_run import OwnRun
from tests.system.patience import wait_until
from tests.system.results import Result, Results

COMPILER = shutil.which("cc")
DAY = 86_400  # seconds
pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    pytest.mark.skipif(COMPILER is None, reason="there is no C compiler called cc"),
]
FAULT = "clock 3 days forward, then 5 back"


class Clock:
    """The wall clock of the processes that have its environment; it is right until it jumps."""

    def __init__(self, folder: Path) -> None:
        self.library, self.file = folder / "shifted_clock.so", folder / "seconds"
        source = Path(__file__).with_name("shifted_clock.c")
        subprocess.run([str(COMPILER), "-shared", "-fPIC", "-O2", "-o", str(self.library), str(source)], check=True)
        self.set(0)

    def set(self, seconds: int) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_text(f"{seconds}\n")
        beside.replace(self.file)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "SHIFTED_CLOCK": str(self.file)}

    def jump_in_training(self, store: Path) -> float:
        """Forward and, a step later, back; when it was, by the monotonic clock."""
        wait_until(lambda: is_at(store, "training"), 180, "training at work", pause=0.01)
        jumped_at, step = time.monotonic(), last_step(building(store, "training"))
        self.set(3 * DAY)
        wait_until(lambda: last_step(building(store, "training")) != step, 60, "step after the jump", pause=0.01)
        self.set(-2 * DAY)
        return jumped_at


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def clocked(
    clock: Clock, tmp_path_factory: pytest.TempPathFactory, sentences: Callable[[int, int], str]
) -> Iterator[Installation]:
    """Prefect, MLflow, worker and keeper, all by that clock."""
    folder = tmp_path_factory.mktemp("clocked")
    with Installation(folder, sentences, environment=clock.environment).while_up() as installation:
        yield installation


def test_jumping_clock_changes_no_byte(
    tmp_path: Path, clock: Clock, installation: Installation, results: Results
) -> None:
    run = OwnRun(installation.config("clock"), installation.corpus, tmp_path / "store")
    clock.set(0)
    with run.under_way("--until", "training", **clock.environment) as process:
        jumped_at = clock.jump_in_training(run.store)
        run.finish(process)
        seconds = time.monotonic() - jumped_at
        assert_no_process_is_left(run)
    again = run.stages_of_next("training")
    assert all(stage["reused"] for stage in again.values() if stage), "with the clock right again"
    assert_nothing_is_left(run)
    assert_nothing_lost(run.built, run.mlflow_uri, installation.undisturbed("training"))
    results.add(Result(FAULT, "training", "went on", seconds, None, "nothing"))


def test_clock_that_jumps_under_every_service_leaves_no_slot_and_no_run(
    clock: Clock, clocked: Installation, results: Results
) -> None:
    """The deployment's limit is held by a lease, which has run out by the clock three days later."""
    clock.set(0)
    expected = clocked.undisturbed("training")
    clocked.forget_builds()
    config = clocked.config("clocked")
    run = clocked.start_run(config, until="training")
    wait_until(lambda: clocked.slots(), 120, "slot that the run takes")
    jumped_at = clock.jump_in_training(clocked.store.root)
    ended = clocked.finish(run)
    seconds = time.monotonic() - jumped_at
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    assert_all_is_well(clocked)
    clocked.complete(config, until="training")
    assert_nothing_lost(clocked.store_of("clocked"), clocked.mlflow_uri, expected)
    results.add(Result(f"{FAULT}, for every service", "training", "went on", seconds, None, "nothing"))
    clock.set(0)
    assert_all_is_well(clocked)
