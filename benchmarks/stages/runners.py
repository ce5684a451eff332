"""The same run over each task runner: seconds, CPU seconds, and whether every published byte is the same.

Dask is run twice more: on a cluster of two workers that runs already, and there with a worker killed on the way.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measured import busy_seconds, measure
from minimind.parts import cores
from minimind.shards.build import SPLITS
from minimind.shards.tokenizing import PART_BYTES, runs_of_row_groups
from minimind.store import Manifest, load_manifest

Row = dict[str, Any]
RUNNERS = ("threads", "processes", "dask", "ray", "cluster", "cluster, a worker killed")
STAGES = ("corpus", "cleaning", "tokenizer", "shards")


def measured_runners(config: Path, sources: list[str], root: Path, names: list[str]) -> Iterator[Row]:
    for name in names:
        store = root / name.replace(", ", "-").replace(" ", "-")
        if name.startswith("cluster"):
            with dask_cluster(root) as (address, workers):
                killer = Killer(store, workers[0]) if "killed" in name else None
                yield {"runner": name, **one_run(config, sources, store, f"dask:{address}", killer)}
        else:
            yield {"runner": name, **one_run(config, sources, store, name, None)}


def one_run(config: Path, sources: list[str], store: Path, runner: str, killer: "Killer | None") -> Row:
    log = store.with_suffix(".log")
    words = ["run", str(config), "--store", str(store), "--until", "shards", "--runner", runner, "--json"]
    command = [sys.executable, "-m", "flows.cli", *words, *(f"--source={glob}" for glob in sources)]
    store.parent.mkdir(parents=True, exist_ok=True)
    if killer:
        killer.start()
    busy = busy_seconds()
    process = measure(command, log, cores())
    last = json.loads(log.read_text().splitlines()[-1])
    if killer:
        killer.join()
    return {
        "seconds": round(process.seconds, 1),
        "cpu_seconds": round(process.cpu_seconds, 1),
        "busy_seconds": round(
            busy_seconds() - busy, 1
        ),  # of the machine: workers of a cluster are none of its children
        "peak_pss_mb": round(process.peak_pss_mb),
        "stage_seconds": {stage: last["stages"][stage]["seconds"] for stage in STAGES},
        "digests": {
            stage: {name: file.sha256 for name, file in manifest_of(last, stage).files.items()} for stage in STAGES
        },
        "killed": killer.killed if killer else None,
        "text_bytes": manifest_of(last, "corpus").counts["bytes"],
        "cleaning_parts": len(list(store.glob("texts/*/*/part-*"))),
        "shards_parts": encoded_parts(manifest_of(last, "cleaning")),
    }


def manifest_of(result: Row, stage: str) -> Manifest:
    found = load_manifest(Path(result["stages"][stage]["path"]))
    assert found is not None, f"{stage} is damaged"
    return found


def encoded_parts(cleaning: Manifest) -> int:
    return sum(len(runs_of_row_groups(cleaning.file(f"{split}.parquet"), PART_BYTES)) for split in SPLITS)


@contextmanager
def dask_cluster(logs: Path) -> Iterator[tuple[str, list[int]]]:
    """The address of a scheduler with two workers of one thread on the loopback interface, and the workers' pids."""
    logs.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    quiet = ["--no-dashboard"]
    scheduler = ["scheduler", "--host", address, *quiet]
    worker = ["worker", address, "--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--host", "127.0.0.1", *quiet]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number, words in enumerate([scheduler, worker, worker]):
            with (logs / f"dask-{number}.log").open("wb") as log:
                command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]]
                started.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ))
        wait_for_workers(address, 2)
        yield address, [one.pid for one in started[1:]]
    finally:
        for one in started:  # a worker that is told to stop may wait for ever for its scheduler
            one.kill()
            one.wait()


def wait_for_workers(address: str, count: int) -> None:
    from distributed import Client

    with Client(address, timeout=60) as client:
        client.wait_for_workers(count, timeout=60)


class Killer(threading.Thread):
    """SIGKILL for a worker while parts of the cleaning are being read."""

    def __init__(self, store: Path, pid: int) -> None:
        super().__init__(daemon=True)
        self.store, self.pid = store, pid
        self.killed: Row | None = None

    def run(self) -> None:
        while psutil.pid_exists(self.pid):
            at_work = [*self.store.glob("cleaning/.building-*/.working/.part-*/*.parquet")]
            if at_work:
                time.sleep(2)
                psutil.Process(self.pid).kill()
                self.killed = {"signal": "SIGKILL", "during": "cleaning", "parts_at_work": len(at_work)}
                return
            time.sleep(0.05)
