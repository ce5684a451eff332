"""A machine left alone: a schedule of 20 seconds, a corpus that changes, faults at random; what leaks, what grows.

    python -m tests.system.soak --minutes 30 --seed 1

Prints figures, puts them into docs/benchmarks/reliability.json and docs/reliability.md, and exits with 1 if something
leaked: a process, a slot, a run that never ended, a run that was due and never came, or memory that only grows.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.conftest import make_sentences
from tests.flows.domain import PROJECT
from tests.system.checks import assert_all_is_well
from tests.system.growth import drawn
from tests.system.installation import ENDED, Installation, wait_until
from tests.system.results import write_part

INTERVAL_SECONDS = 20
LOOK_SECONDS = 10.0
FAULT_SECONDS = (30.0, 90.0)  # between two faults
QUICK = {"training.budget": "30k tokens", "training.evaluations": 1}
MAX_GROWTH = 1.5  # of the memory of the services, last quarter against the second
MIN_MINUTES = 1.0
COMING_SECONDS = 300.0  # in which one of the runs that are due begins, whatever was hurt
SERVICES = ("Prefect", "MLflow", "worker", "keeper")
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
    installation = Installation(folder, make_sentences())
    with up(installation):
        began = time.monotonic()
        next_fault = began + chance.uniform(*FAULT_SECONDS)
        while (now := time.monotonic()) - began < minutes * 60:
            if now >= next_fault:
                name, hurt = chance.choice(FAULTS)
                change_corpus(installation, chance, found)
                if hurt(installation):
                    log(f"{now - began:6.0f} s  {name}")
                    found.faults.append((now - began, name))
                next_fault = time.monotonic() + chance.uniform(*FAULT_SECONDS)
            found.samples.append({"seconds": now - began} | memory(installation) | disk(installation))
            time.sleep(LOOK_SECONDS)
        settle(installation, found)
        count(installation, began, found)
    return found


@contextmanager
def up(installation: Installation) -> Iterator[None]:
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
        installation.down()


# --- what is done to it -----------------------------------------------------------------------------------------------


def change_corpus(installation: Installation, chance: random.Random, found: Soak) -> None:
    """Another text in one document's place, every other time."""
    if chance.random() < 0.5:
        return
    rows = [json.loads(line) for line in installation.corpus.read_text().splitlines()]
    rows[chance.randrange(len(rows))]["text"] = installation.sentences(chance.randrange(10**6), 200)
    beside = installation.corpus.with_suffix(".new")
    beside.write_text("".join(json.dumps(row) + "\n" for row in rows))
    beside.replace(installation.corpus)
    found.changes += 1


def kill_service(name: str) -> Callable[[Installation], bool]:
    def hurt(installation: Installation) -> bool:
        process = installation.service(name)
        return process is not None and kill([process, *(process.children() if name != "worker" else [])])

    return hurt


def kill_processes(*words: str) -> Callable[[Installation], bool]:
    """Those whose command line has one of the words; none may be there at the moment."""

    def hurt(installation: Installation) -> bool:
        return kill([one for one in installation.processes() if any(word in " ".join(one.cmdline()) for word in words)])

    return hurt


def kill(processes: list[psutil.Process]) -> bool:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return bool(processes)


def cancel(installation: Installation) -> bool:
    running = [run for run in installation.runs() if run["state_type"] == "RUNNING"]
    for run in running:
        with suppress(httpx.HTTPError):
            installation.ask(f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})
    return bool(running)


def kill_worker_and_flow(installation: Installation) -> bool:
    return kill_service("worker")(installation) and kill_processes("prefect.engine")(installation)


FAULTS: tuple[tuple[str, Callable[[Installation], bool]], ...] = (
    ("training killed", kill_processes("minimind.training")),
    ("flow killed", kill_processes("prefect.engine")),
    ("worker killed", kill_service("worker")),
    ("worker and flow killed", kill_worker_and_flow),
    ("Prefect killed", kill_service("Prefect")),
    ("MLflow killed", kill_service("MLflow")),
    ("cancelled", cancel),
)


# --- what is seen -----------------------------------------------------------------------------------------------------


def memory(installation: Installation) -> dict[str, float]:
    """Resident MB of each service that is alive, with the processes that serve for it; not of runs."""
    found = {}
    for name in SERVICES:
        with suppress(psutil.Error):
            if process := installation.service(name):
                family = [process, *(process.children(recursive=True) if name != "worker" else [])]
                found[f"memory_mb {name}"] = sum(one.memory_info().rss for one in family) / 1e6
    return found


def disk(installation: Installation) -> dict[str, float]:
    """MB of the store by its parts."""
    found: Counter[str] = Counter()
    for path in installation.store.root.rglob("*"):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                found[part_of(path.relative_to(installation.store.root))] += path.stat().st_size
    return {f"disk_mb {part}": size / 1e6 for part, size in found.items()}


def part_of(path: Path) -> str:
    top = path.parts[0]
    if top == "prefect":
        return "Prefect's results" if "storage" in path.parts else "Prefect's database"
    return {"mlflow.db": "MLflow's database", "mlflow-artifacts": "MLflow's artifacts", "servers": "logs"}.get(
        top, "builds"
    )


def settle(installation: Installation, found: Soak) -> None:
    """Schedules are paused, what was due may come, what runs may end; then nothing may be left."""
    paused_at = time.time()
    for deployment in installation.ask("/deployments/filter", {}):
        wait_until(lambda id=deployment["id"]: pause(installation, id), 120, "pause of the schedules", pause=1.0)
    try:
        assert_every_time_has_a_run(installation, paused_at)
        wait_for_due(installation, paused_at)
        wait_until(lambda: not under_way(installation), 300, "end of the runs under way", pause=1.0)
        assert_all_is_well(installation)
        installation.complete(installation.folder / "domain.yaml")
    except AssertionError as error:
        found.leaks.append(str(error).splitlines()[0])
    found.leaks += grown(found.samples)


def pause(installation: Installation, deployment_id: str) -> bool:
    """False where Prefect is away or its database busy. Its `pause_deployment` would delete the runs that are due."""
    with suppress(httpx.HTTPError), installation.place.prefect_api().client() as client:
        return client.patch(f"/deployments/{deployment_id}", json={"paused": True}).is_success
    return False


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


def grown(samples: list[dict[str, float]]) -> list[str]:
    """In words, of services whose memory only grows; nothing of one that is in no sample of either quarter."""
    quarter, words = max(1, len(samples) // 4), []
    for name in SERVICES:
        second, last = (
            mean(part, f"memory_mb {name}") for part in (samples[quarter : 2 * quarter], samples[-quarter:])
        )
        if 0 < MAX_GROWTH * second < last:
            words.append(f"{name} grew from {second:.0f} to {last:.0f} MB")
    return words


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


def mean(samples: list[dict[str, float]], name: str) -> float:
    values = [sample[name] for sample in samples if name in sample]
    return sum(values) / len(values) if values else 0.0


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
    return asdict(found) | {"samples": found.samples[:: max(1, len(found.samples) // 60)]}


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
