"""SIGKILL at any moment, then again: the same bytes as an undisturbed run, and nothing left running."""

import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from domain import MINIMIND, PROJECT, Domain, environment, published
from stages import run_stages

from minimind.store import Store

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["stages"])
STAGES = ("corpus", "cleaning", "tokenizer", "shards", "training", "evaluation")
KILLS = 10


class Process:
    """Runs all stages in a store; can be killed at any moment."""

    def __init__(self, domain: Domain, root: Path) -> None:
        self._hears, says = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=run_stages, args=(domain.config, root, says))
        self._process.start()
        says.close()

    def steps(self) -> Iterator[str]:
        """The names of the stages as they begin, then `done`; ends with the process."""
        with suppress(EOFError):
            while True:
                yield self._hears.recv()

    def kill(self) -> None:
        self._process.kill()
        self.join()

    def join(self) -> int | None:
        """The exit code."""
        self._process.join(30)
        return self._process.exitcode


@pytest.mark.slow  # tests/system has its like among its quick ones
def test_ten_kills_at_random_moments_change_no_byte(
    make_domain: Callable[..., Domain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # before Python 3.13 the fork server has the sys.path of a new process, and leaves out in silence what it lacks
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), str(PROJECT)]))
    domain = make_domain()
    undisturbed, seconds = run_undisturbed(domain, tmp_path / "undisturbed")
    chance = random.Random()
    moments = sorted(
        (STAGES.index(stage), chance.uniform(0, seconds[stage])) for stage in chance.choices(STAGES[:-1], k=KILLS)
    )
    print("killed at", [(STAGES[index], round(delay, 3)) for index, delay in moments])
    root = tmp_path / "killed"
    for index, delay in moments:
        process = Process(domain, root)
        if STAGES[index] in process.steps():
            time.sleep(delay)
        process.kill()
    last = Process(domain, root)
    assert "done" in last.steps()
    assert last.join() == 0
    assert published(Store(root, "small")) == undisturbed
    assert_nothing_runs_in(root)


def run_undisturbed(domain: Domain, root: Path) -> tuple[dict[str, str], dict[str, float]]:
    """What it publishes, and how long each stage takes."""
    process = Process(domain, root)
    began = {step: time.monotonic() for step in process.steps()}
    assert process.join() == 0
    assert list(began) == [*STAGES, "done"]
    times = list(began.values())
    return published(Store(root, "small")), {
        stage: after - at for stage, at, after in zip(STAGES, times, times[1:], strict=False)
    }


@pytest.mark.slow  # tests/system has its like among its quick ones
def test_killed_run_leaves_nothing_running(make_domain: Callable[..., Domain]) -> None:
    domain = make_domain()
    command = [*MINIMIND, "run", str(domain.config), "--store", str(domain.store)]
    command += ["--set", "training.budget=50M tokens"]
    process = subprocess.Popen(command, cwd=PROJECT, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr
    assert any("tokens/s" in line for line in process.stderr), "training never reported progress"
    assert len(processes_in(domain.store)) >= 3, "expected the run, its Prefect server and the training"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert_nothing_runs_in(domain.store)
    result = domain.run("--set", "training.budget=8k tokens")
    assert result["model"]["aliases"] == ["champion"]
    assert_nothing_runs_in(domain.store)


def assert_nothing_runs_in(root: Path) -> None:
    deadline = time.monotonic() + 20
    while (left := processes_in(root)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, [process.cmdline() for process in left]


def processes_in(root: Path) -> list[psutil.Process]:
    """Processes that name the store on their command line, in their environment, or as their working folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.pid != psutil.Process().pid and any(str(root) in word for word in words):
            found.append(process)
    return found
