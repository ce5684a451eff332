"""`minimind down` in the middle of a training: it writes its checkpoint, however long that takes within the grace."""

import signal
import threading
import time

import pytest

from tests.system.checks import assert_all_is_well, assert_nothing_lost
from tests.system.faults import building, catch, last_checkpoint, last_step
from tests.system.fleeting import send
from tests.system.installation import Installation
from tests.system.results import Result, Results

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
SLOW_SECONDS = 8.0  # that a large model's checkpoint may take; here its process stands still


def test_down_waits_for_the_checkpoint_of_a_training(healthy: Installation, results: Results) -> None:
    expected = healthy.undisturbed("training")
    healthy.forget_builds()
    config = healthy.config("down")
    caught = catch(healthy, healthy.start_run(config, until="training"), "training")
    folder = building(healthy.store.root, "training")
    send(caught.processes.flow, signal.SIGCONT)
    threading.Timer(SLOW_SECONDS, caught.let_go).start()
    began = time.monotonic()
    healthy.down()
    seconds = time.monotonic() - began
    assert seconds > SLOW_SECONDS
    step, checkpoint = last_step(folder), last_checkpoint(folder)
    assert step, "the training has not begun"
    assert healthy.command("up").returncode == 0
    assert_all_is_well(healthy)
    healthy.complete(config, until="training")
    recovered = time.monotonic() - began
    assert_nothing_lost(healthy.store_of("down"), healthy.mlflow_uri, expected)
    lost = f"{step - checkpoint} of {step} steps"
    results.add(Result("`minimind down`, then up again", "training", "was stopped", seconds, recovered, lost))
    assert checkpoint == step
