"""The disk that holds the store is full in the middle of a stage: a sentence, exit code 2, and nothing lost."""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.system.checks import assert_no_process_is_left, assert_nothing_is_left, assert_nothing_lost
from tests.system.faults import UNTIL, is_at
from tests.system.fleeting import children_of, send
from tests.system.installation import Installation
from tests.system.own_run import OwnRun
from tests.system.patience import wait_until
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
    moment: str, small_disk: Path, installation: Installation, results: Results
) -> None:
    run = OwnRun(installation.config("full-disk"), installation.corpus, small_disk / "store")
    until, ballast = UNTIL[moment], small_disk / "ballast"
    with run.under_way("--until", until) as process:
        wait_until(lambda: is_at(run.store, moment), 120, f"{moment} at work", pause=0.01)
        with standing_still(psutil.Process(process.pid)):
            fill(ballast)
            full_at = time.monotonic()
        _, said = run.finish(process, expect=2)
        seconds = time.monotonic() - full_at
        assert "is full" in said
        assert "Traceback" not in said
        assert not list((run.store / moment).glob("[!.]*/manifest.json"))
        assert_no_process_is_left(run)
    ballast.unlink()
    run.stages_of_next(until)
    recovered = time.monotonic() - full_at
    assert_nothing_is_left(run)
    assert_nothing_lost(run.built, run.mlflow_uri, installation.undisturbed(until))
    lost = "the steps since the last checkpoint" if moment == "training" else "the cleaning begun"
    results.add(Result("disk full", moment, "ended with a sentence", seconds, recovered, lost))


@contextmanager
def standing_still(process: psutil.Process) -> Iterator[None]:
    """A process and all below it, for as long as the block runs."""
    family = [process, *children_of(process)]
    send(family, signal.SIGSTOP)
    try:
        yield
    finally:
        send(family, signal.SIGCONT)


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
