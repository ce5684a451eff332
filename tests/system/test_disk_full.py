"""The disk that holds the store is full in the middle of a stage: a sentence, exit code 2, and nothing lost."""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from minimind.store import Store
from tests.flows.domain import Domain, published
from tests.system.faults import UNTIL, is_at
from tests.system.installation import Installation, Undisturbed, wait_until
from tests.system.results import Result, Results

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 MB in memory."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("moment", UNTIL)
def test_full_disk_is_said_and_costs_one_stage_at_most(
    moment: str, small_disk: Path, installation: Installation, undisturbed: Undisturbed, results: Results
) -> None:
    domain = Domain(installation.config("full-disk"), installation.corpus, small_disk / "store")
    until = UNTIL[moment]
    process = domain.started("--until", until)
    wait_until(lambda: is_at(domain.store, moment), 120, f"{moment} at work", pause=0.01)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in family:
        one.send_signal(signal.SIGSTOP)
    fill(small_disk / "ballast")
    full_at = time.monotonic()
    for one in family:
        one.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=240)
    seconds = time.monotonic() - full_at
    assert process.returncode == 2, said[-5000:]
    assert "is full" in said
    assert "Traceback" not in said
    assert not list((domain.store / moment).glob("[!.]*/manifest.json"))
    (small_disk / "ballast").unlink()
    domain.run("--until", until)
    assert published(Store(domain.store, "full-disk")) == undisturbed(until)
    lost = "the steps since the last checkpoint" if moment == "training" else "the cleaning begun"
    results.add(Result("disk full", moment, "ended with a sentence", seconds, time.monotonic() - full_at, lost))


def fill(path: Path) -> None:
    block = bytes(1 << 16)
    with path.open("wb", buffering=0) as ballast:
        while block:
            try:
                ballast.write(block)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                block = block[: len(block) // 2]
