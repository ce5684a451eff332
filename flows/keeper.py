"""Keeps what `minimind up` started: restarts a service that died, ends flow runs whose process is gone.

A process of its own, started last. All that it knows is in the store's files and on the Prefect server, so it can be
killed and started again at any moment. It ends with `minimind down`.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from flows import servers
from flows.dead_runs import DeadRuns
from flows.profiles import Place, recorded_place
from flows.services import KEEPER, WORKER_NAME
from flows.up import start_again
from minimind.errors import UserError
from minimind.store import Store

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
PAUSE_SECONDS = (0.0, 2.0, 10.0, 30.0, 60.0, 120.0)  # before each try in a row
LATER_SECONDS = 600.0  # before each after these: a disk that was full may have room again, with nobody there to say so
TRIES = len(PAUSE_SECONDS)
STEADY_SECONDS = 30.0  # healthy so long after its start, a service can start: its next death is its first again


@dataclass
class Restarts:
    """Of one service: how often in a row, none of which has led to a healthy one, and when the next may be."""

    tries: int = 0
    tried_at: float = float("-inf")  # monotonic

    @property
    def is_failing(self) -> bool:
        """Whether it is tried now and then only."""
        return self.tries >= TRIES

    def is_due(self, now: float) -> bool:
        """Whether to start it now, which counts as a try."""
        if now - self.tried_at < (LATER_SECONDS if self.is_failing else PAUSE_SECONDS[self.tries]):
            return False
        self.tries, self.tried_at = self.tries + 1, now
        return True

    def note_alive(self, is_healthy: Callable[[], bool], now: float) -> None:
        """Forgets the tries where the last one led to a service that works; what ends it later is another thing."""
        if self.tries and now - self.tried_at >= STEADY_SECONDS and is_healthy():
            self.tries = 0


class Keeper:
    def __init__(self, root: Path) -> None:
        self.root, self.store = root, Store(root, "")
        self.restarts: dict[str, Restarts] = {}
        self.told: list[str] = []  # to `minimind status`: what fails
        self.dead_runs = DeadRuns(self.store, WORKER_NAME)
        self.mlflow_told: subprocess.Popen[bytes] | None = None  # of what is abandoned now
        self.unanswered = False  # by Prefect, the last time that it was asked

    def keep(self) -> None:
        state_path(self.root).unlink(missing_ok=True)
        while True:
            try:
                if place := recorded_place(self.root):
                    self.look(place)
            except Exception:  # a full disk, a database that is away: the next look may do better
                logger.exception("this look failed")
            time.sleep(LOOK_SECONDS)

    def look(self, place: Place) -> None:
        """Starts each service that died, unless one before it, which it may need, will soon be well; ends dead runs."""
        recorded, described = servers.recorded_servers(self.root), place.services()
        kept = [server for server in recorded if server.name in described and server.name != KEEPER]
        for position, server in enumerate(kept):
            restarts = self.restarts_of(server.name)
            if server.is_alive():
                restarts.note_alive(described[server.name].is_healthy, time.monotonic())
            elif all(
                self.restarts_of(earlier.name).is_failing or described[earlier.name].is_healthy()
                for earlier in kept[:position]
            ):
                self.restart(server.name, time.monotonic())
        if "Prefect" in servers.running_servers(self.root):
            self.end_dead_runs(place)
        self.tell_status()  # last: a full disk keeps it from writing, and nothing else

    def restarts_of(self, name: str) -> Restarts:
        return self.restarts.setdefault(name, Restarts())

    def restart(self, name: str, now: float) -> None:
        restarts = self.restarts_of(name)
        if not restarts.is_due(now):
            return
        logger.warning("%s has died and is started again, try %d in a row", name, restarts.tries)
        if restarts.tries == TRIES:
            logger.error("%s died %d times in a row; from now on it is tried every 10 minutes", name, TRIES)
        try:
            start_again(self.root, name)
        except (UserError, OSError) as error:
            logger.error("%s: %s", name, error)

    def tell_status(self) -> None:
        failing = [name for name, restarts in self.restarts.items() if restarts.is_failing]
        if failing != self.told:
            servers.write_json(state_path(self.root), failing)
            self.told = failing

    def end_dead_runs(self, place: Place) -> None:
        if not self.store.abandoned_runs():
            self.mlflow_told = None
        elif self.mlflow_told is None:
            self.mlflow_told = tell_mlflow(place)
        try:
            for ended in self.dead_runs.end(place.prefect_api().post, time.monotonic()):
                logger.warning("run %s (%s): its process is gone; now %s", ended.name, ended.run, ended.state)
            self.unanswered = False
        except httpx.HTTPError as error:
            if not self.unanswered:
                logger.warning("Prefect cannot be asked for dead runs: %s", error)
            self.unanswered = True


def tell_mlflow(place: Place) -> "subprocess.Popen[bytes]":
    """In a process of its own, not waited for: MLflow's client takes 200 MB and seconds, once in a while."""
    command = [sys.executable, "-m", "minimind.registry.stale_runs", "--store", str(place.root)]
    return subprocess.Popen(command, env=os.environ | place.client_environment(), stdin=subprocess.DEVNULL)


def state_path(root: Path) -> Path:
    return root / "servers" / "keeper.json"


def failing(root: Path) -> list[str]:
    """The services that died so often in a row that they are tried now and then only; for `minimind status`."""
    return list(servers.read_json(state_path(root)) or [])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Restarts services that died; started by `minimind up`.")
    parser.add_argument("--store", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    Keeper(arguments.store).keep()
