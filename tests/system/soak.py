"""A machine left alone: a schedule of 20 seconds, a corpus that changes, faults at random; what leaks, what grows.

    python -m tests.system.soak --minutes 30 --seed 1

Prints figures, puts them into docs/benchmarks/reliability.json and docs/reliability.md, and exits with 1 if something
leaked: a process, a slot, a run that never ended, a run that was due and never came, memory or builds that only grow;
or if the champion cannot be made again to the byte after all that pruning.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from flows.servers import log_path
from tests.conftest import make_sentences
from tests.flows.domain import PROJECT
from tests.system.checks import assert_all_is_well
from tests.system.growth import disk, drawn, grown, memory
from tests.system.installation import ENDED, Installation
from tests.system.patience import wait_until
from tests.system.probe import answered, prefect_seen
from tests.system.results import write_part
from tests.system.soak_faults import FAULTS, change_corpus

INTERVAL_SECONDS = 20
LOOK_SECONDS = 10.0
FAULT_SECONDS = (30.0, 90.0)  # between two faults
QUICK = {"training.budget": "30k tokens", "training.evaluations": 1}
MIN_MINUTES = 1.0
COMING_SECONDS = 300.0  # in which one of the runs that are due begins, whatever was hurt
TELLING = {"PREFECT_SERVER_LOG_RETRYABLE_ERRORS": "true"}  # of a database that refuses a write
PICTURE = PROJECT / "docs" / "soak.svg"


@dataclass
class Soak:
    """What was seen."""

    minutes: float
    seed: int
    faults: list[tuple[float, str]] = field(default_factory=list)  # seconds from the start, name
    samples: list[dict[str, float]] = field(default_factory=list)  # seconds, memory_mb of services, store_mb by part
    runs: Counter[str] = field(default_factory=Counter)  # by state
    recoveries: list[float] = field(default_factory=list)  # seconds from a fault until a run had completed
    changes: int = 0
    leaks: list[str] = field(default_factory=list)


def soak(minutes: float, seed: int, folder: Path, log: Callable[[str], None]) -> Soak:
    found, chance = Soak(minutes, seed), random.Random(seed)
    installation = Installation(folder, make_sentences(), environment=TELLING)
    with up(installation, found):
        began = time.monotonic()

        def say(line: str) -> None:
            log(f"{time.monotonic() - began:6.0f} s  {line}")

        next_fault = began + chance.uniform(*FAULT_SECONDS)
        while (now := time.monotonic()) - began < minutes * 60:
            if now >= next_fault:
                name, hurt = chance.choice(FAULTS)
                found.changes += change_corpus(installation, chance)
                with failures_told(found):
                    if hurt(installation):
                        say(name)
                        found.faults.append((now - began, name))
                next_fault = time.monotonic() + chance.uniform(*FAULT_SECONDS)
            found.samples.append({"seconds": now - began} | memory(installation) | disk(installation))
            time.sleep(LOOK_SECONDS)
        with failures_told(found):
            settle(installation, say)
        found.leaks += grown(found.samples)
        with failures_told(found):
            count(installation, began, found)
        if found.leaks:
            written = log_path(installation.store.root, "Prefect").read_text(errors="replace")
            say(f"the end of Prefect's log:\n{written[-5000:]}")
    return found


@contextmanager
def failures_told(found: Soak) -> Iterator[None]:
    """What did not come in time, and a server that answers to nothing, are leaks: the figures are told all the same."""
    try:
        yield
    except (AssertionError, httpx.HTTPError, subprocess.TimeoutExpired) as error:
        first_line = (str(error).splitlines() or [""])[0]
        found.leaks.append(first_line if isinstance(error, AssertionError) else f"{type(error).__name__}: {first_line}")


@contextmanager
def up(installation: Installation, found: Soak) -> Iterator[None]:
    overrides = [f"{key}={value}" for key, value in QUICK.items()]
    config = str(installation.folder / "domain.yaml")
    often = {
        "name": "often",
        "parameters": {"request": {"config": config, "overrides": overrides}},
        "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},  # a run may take longer than 20 s
    }
    pruned = {
        "name": "prune",
        "entrypoint": "flows/prune.py:prune",
        "parameters": {"request": {"keep_versions": 2}},
    }
    scheduled = (
        often | {"schedules": [{"slug": "often", "interval": INTERVAL_SECONDS}]},
        pruned | {"schedules": [{"slug": "now-and-then", "interval": 120}]},
    )
    try:
        installation.up(deployments=scheduled)
        yield
    finally:
        with failures_told(found):
            installation.down()


# --- what is seen -----------------------------------------------------------------------------------------------------


def settle(installation: Installation, say: Callable[[str], None]) -> None:
    """Schedules are paused, what was due may come, what runs may end; then nothing may be left, and nothing lacking."""
    paused_at = time.time()
    for deployment in installation.ask("/deployments/filter", {}):
        pause(installation, deployment["id"], say)
    assert_every_time_has_a_run(installation, paused_at)
    wait_for_due(installation, paused_at)
    wait_until(lambda: not under_way(installation), 300, "end of the runs under way", pause=1.0)
    assert_all_is_well(installation)
    installation.complete(installation.folder / "domain.yaml")
    made_again = installation.command("reproduce", "domain")
    assert made_again.returncode == 0, f"pruning took what the champion needs: {made_again.stderr.splitlines()[-1:]}"


def pause(installation: Installation, deployment_id: str, say: Callable[[str], None]) -> None:
    """Asks until Prefect does it, and says what may keep it from that. Its `pause_deployment` deletes what is due."""
    answers: list[str] = []

    def is_paused() -> bool:
        with installation.place.prefect_api().client() as client:
            done, said = answered(lambda: client.patch(f"/deployments/{deployment_id}", json={"paused": True}))
        answers.append(said)
        if not done:
            say(f"pausing: {said}; {prefect_seen(installation)}")
        return done

    wait_until(is_paused, 120, "pause of the schedules", pause=1.0, seen=lambda: f"; the last answer: {answers[-1]}")


def assert_every_time_has_a_run(installation: Installation, until: float) -> None:
    """Of the schedule, from its first run on."""
    (often,) = installation.ask("/deployments/filter", {"deployments": {"name": {"any_": ["often"]}}})
    times = [at(run["expected_start_time"]) for run in installation.runs() if run["deployment_id"] == often["id"]]
    assert times, "no run was planned"
    for before, after in pairwise([*(each for each in times if each <= until), until]):
        assert after - before < 1.5 * INTERVAL_SECONDS, f"no run was planned for {after - before:.0f} s"


def wait_for_due(installation: Installation, until: float) -> None:
    """Those that were due come one after the other; fails where none does."""
    while waiting := len(due(installation, until)):
        what = f"start of any of {waiting} runs that are due"
        wait_until(lambda before=waiting: len(due(installation, until)) < before, COMING_SECONDS, what, pause=1.0)


def due(installation: Installation, until: float) -> list[str]:
    return [
        run["id"]
        for run in installation.runs()
        if run["state_type"] == "SCHEDULED" and at(run["expected_start_time"]) <= until
    ]


def under_way(installation: Installation) -> list[str]:
    return [run["id"] for run in installation.runs() if run["state_type"] not in (*ENDED, "SCHEDULED")]


def count(installation: Installation, began: float, found: Soak) -> None:
    started = time.time() - (time.monotonic() - began)
    runs = [run for run in installation.runs() if run["start_time"]]
    found.runs = Counter(str(run["state_type"]).title() for run in runs if run["state_type"] in ENDED)
    completed = sorted(at(run["end_time"]) - started for run in runs if run["state_type"] == "COMPLETED")
    for seconds, _ in found.faults:
        after = next((end for end in completed if end > seconds), None)
        if after is not None:
            found.recoveries.append(after - seconds)


def at(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


# --- what is said -----------------------------------------------------------------------------------------------------


def figures(found: Soak) -> str:
    """As Markdown."""
    faults, recoveries = Counter(name for _, name in found.faults), sorted(found.recoveries) or [0.0]
    first, last = found.samples[len(found.samples) // 8], found.samples[-1]
    lines = [
        f"{found.minutes:g} minutes, seed {found.seed}: {sum(found.runs.values())} runs ("
        + ", ".join(f"{number} {state}" for state, number in found.runs.most_common())
        + f"), {found.changes} changes of the corpus, {len(found.faults)} faults ("
        + ", ".join(f"{number} × {name}" for name, number in faults.most_common())
        + f"). From a fault to the end of the next completed run: median {recoveries[len(recoveries) // 2]:.0f} s, "
        f"longest {recoveries[-1]:.0f} s. Leaked: {'; '.join(found.leaks) or 'nothing'}.",
        "",
        "| | after an eighth of the time | at the end |",
        "|---|---|---|",
    ]
    for key in sorted(first.keys() | last.keys() - {"seconds"}):
        if key != "seconds":
            lines.append(f"| {key.replace('_mb', ', MB:')} | {first.get(key, 0):.1f} | {last.get(key, 0):.1f} |")
    return "\n".join([*lines, "", "![Memory and disk](soak.svg)"]) + "\n"


def as_json(found: Soak) -> dict[str, Any]:
    """With a sample for each sixtieth of the time, or fewer."""
    fewer = found.samples[:: max(1, len(found.samples) // 60)]
    return asdict(found) | {"samples": fewer, "runs": dict(found.runs)}  # of a Counter, asdict makes one of pairs


def long_enough(text: str) -> float:
    if (minutes := float(text)) < MIN_MINUTES:
        raise argparse.ArgumentTypeError(
            f"{text} minutes are too few to see anything grow; give {MIN_MINUTES:g} or more"
        )
    return minutes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Runs a schedule with faults at random, and looks for what leaks.")
    parser.add_argument("--minutes", type=long_enough, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="leave docs/ as it is, print only")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        done = soak(arguments.minutes, arguments.seed, Path(temporary), lambda line: print(line, flush=True))
    print(figures(done))
    if not arguments.keep:
        PICTURE.write_text(drawn(done.samples))
        write_part("soak", as_json(done), figures(done))
    sys.exit(1 if done.leaks or not done.runs["Completed"] else 0)
