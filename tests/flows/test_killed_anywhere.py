"""SIGKILL at any moment, then again: the same bytes as an undisturbed run, and nothing left running."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from domain import MINIMIND, PROJECT, Domain, environment

from minimind.store import Store

SCRIPT = Path(__file__).with_name("stages.py")
STAGES = ("corpus", "cleaning", "tokenizer", "shards", "training", "evaluation")
REPRODUCIBLE = ("corpus", "cleaning", "tokenizer", "shards", "training")  # evaluation also measures speed
KILLS = 10


def start(domain: Domain, root: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SCRIPT), str(domain.config), str(root)]
    return subprocess.Popen(command, cwd=PROJECT, env=environment(), stdout=subprocess.PIPE, text=True)


def wait_for(process: "subprocess.Popen[str]", stage: str) -> bool:
    """True when the process says that it begins `stage`; False if it ended before."""
    assert process.stdout
    return any(line.strip() == stage for line in process.stdout)


def published(root: Path) -> dict[str, str]:
    """<stage>/<file> -> sha256 of the newest build of each stage that must be reproducible."""
    store = Store(root, "small")
    manifests = {stage: store.newest(stage) for stage in REPRODUCIBLE}
    timed = ("metrics.jsonl",)  # carries wall-clock times
    return {
        f"{stage}/{name}": entry.sha256
        for stage, manifest in manifests.items()
        if manifest
        for name, entry in manifest.files.items()
        if name not in timed
    }


def test_ten_kills_at_random_moments_change_no_byte(make_domain: Callable[..., Domain], tmp_path: Path) -> None:
    domain = make_domain()
    undisturbed, seconds = run_undisturbed(domain, tmp_path / "undisturbed")
    chance = random.Random()
    moments = sorted(
        (STAGES.index(stage), chance.uniform(0, seconds[stage])) for stage in chance.choices(STAGES[:-1], k=KILLS)
    )
    print("killed at", [(STAGES[index], round(delay, 3)) for index, delay in moments])
    root = tmp_path / "killed"
    for index, delay in moments:
        process = start(domain, root)
        if wait_for(process, STAGES[index]):
            time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    last = start(domain, root)
    assert wait_for(last, "done")
    assert last.wait(30) == 0
    assert published(root) == undisturbed
    assert_nothing_runs_in(root)


def run_undisturbed(domain: Domain, root: Path) -> tuple[dict[str, str], dict[str, float]]:
    """What it publishes, and how long each stage takes."""
    process = start(domain, root)
    assert process.stdout
    began = {line.strip(): time.monotonic() for line in process.stdout}
    assert process.wait(30) == 0
    assert list(began) == [*STAGES, "done"]
    times = list(began.values())
    return published(root), {stage: after - at for stage, at, after in zip(STAGES, times, times[1:], strict=False)}


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
    result = domain.run("--set", "training.budget=20k tokens")
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
