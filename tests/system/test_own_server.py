"""`minimind run` with a Prefect server of its own, which is killed: stages are kept, a sentence says what to do."""

import time
from pathlib import Path

import psutil
import pytest

from tests.system.checks import assert_no_process_is_left, assert_nothing_is_left, assert_nothing_lost
from tests.system.faults import is_at
from tests.system.fleeting import children_of, kill, words_of
from tests.system.installation import Installation
from tests.system.own_run import OwnRun
from tests.system.patience import wait_until
from tests.system.results import Result, Results

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def test_own_prefect_server_killed(tmp_path: Path, installation: Installation, results: Results) -> None:
    run = OwnRun(installation.config("own-server"), installation.corpus, tmp_path / "store")
    with run.under_way("--until", "training") as process:
        wait_until(lambda: is_at(run.store, "training"), 180, "training at work", pause=0.01)
        kill_server(run.store)
        killed_at = time.monotonic()
        _, said = run.finish(process, expect=2)
        seconds = time.monotonic() - killed_at
        assert "the Prefect server went away in the middle" in said
        assert "Traceback" not in said
        assert_no_process_is_left(run)
    stages = run.stages_of_next("training")
    recovered = time.monotonic() - killed_at
    assert stages["training"]["reused"], "the training went on to its end"
    assert_nothing_is_left(run)
    assert_nothing_lost(run.built, run.mlflow_uri, installation.undisturbed("training"))
    name = "Prefect server of `minimind run` killed"
    results.add(Result(name, "training", "trained on, then a sentence", seconds, recovered, "nothing"))


def kill_server(root: Path) -> None:
    """Every process below the one that watches the server."""
    watching = [one for one in psutil.process_iter() if {str(root), "flows.own_server"} <= set(words_of(one))]
    assert watching, "the run has no server of its own"
    kill(child for one in watching for child in children_of(one))
