"""`minimind run` with a Prefect server of its own, which is killed: stages are kept, a sentence says what to do."""

import time
from pathlib import Path

import psutil
import pytest

from minimind.store import Store
from tests.flows.domain import Domain, published
from tests.system.faults import is_at
from tests.system.installation import Installation, Undisturbed, wait_until
from tests.system.results import Result, Results

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def test_own_prefect_server_killed(
    tmp_path: Path, installation: Installation, undisturbed: Undisturbed, results: Results
) -> None:
    domain = Domain(installation.config("own-server"), installation.corpus, tmp_path / "store")
    process = domain.started("--until", "training")
    wait_until(lambda: is_at(domain.store, "training"), 180, "training at work", pause=0.01)
    kill_server(domain.store)
    killed_at = time.monotonic()
    _, said = process.communicate(timeout=300)
    seconds = time.monotonic() - killed_at
    assert process.returncode == 2, said[-5000:]
    assert "the Prefect server went away in the middle" in said
    assert "Traceback" not in said
    stages = domain.run("--until", "training")["stages"]
    assert stages["training"]["reused"], "the training went on to its end"
    assert published(Store(domain.store, "own-server")) == undisturbed("training")
    recovered = time.monotonic() - killed_at
    name = "Prefect server of `minimind run` killed"
    results.add(Result(name, "training", "trained on, then a sentence", seconds, recovered, "nothing"))


def kill_server(root: Path) -> None:
    """Every process below the one that watches the server."""
    servers = [one for one in psutil.process_iter() if {str(root), "flows.own_server"} <= set(one.cmdline())]
    assert servers, "the run has no server of its own"
    for one in servers:
        for child in one.children(recursive=True):
            child.kill()
