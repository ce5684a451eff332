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
PAUSE_SECONDS = (0.0, 2.0, 10.0, 30.0, 60.0, 120.0)  # before each try in a row; after the last one it gives up
TRIES = len(PAUSE_SECONDS)
STEADY_SECONDS = 30.0  # healthy so long after its start, a service can start: its next death is its first again


@dataclass
class Restarts:
    """Of one service: how often in a row, none of which has led to a healthy one, and when the next may be."""

    tries: int = 0
    tried_at: float = float("-inf")  # monotonic
    gave_up: bool = False

    def is_due(self, now: float) -> bool:
        """Whether to start it now; sets `gave_up` when it has died once more after the last try."""
        self.gave_up = self.gave_up or self.tries == len(PAUSE_SECONDS)
        if self.gave_up or now - self.tried_at < PAUSE_SECONDS[self.tries]:
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
        """Starts the first service that died, once those before it are well, which it may need; ends dead runs."""
        recorded, described = servers.recorded_servers(self.root), place.services()
        kept = [server for server in recorded if server.name in described and server.name != KEEPER]
        for position, server in enumerate(kept):
            if server.is_alive():
                self.restarts_of(server.name).note_alive(described[server.name].is_healthy, time.monotonic())
            else:
                if all(described[earlier.name].is_healthy() for earlier in kept[:position]):
                    self.restart(server.name, time.monotonic())
                break
        if "Prefect" in servers.running_servers(self.root):
            self.end_dead_runs(place)

    def restarts_of(self, name: str) -> Restarts:
        return self.restarts.setdefault(name, Restarts())

    def restart(self, name: str, now: float) -> None:
        restarts = self.restarts_of(name)
        if restarts.gave_up:
            return
        if restarts.is_due(now):
            logger.warning("%s has died and is started again, try %d in a row", name, restarts.tries)
            try:
                start_again(self.root, name)
            except (UserError, OSError) as error:
                logger.error("%s: %s", name, error)
        elif restarts.gave_up:
            logger.error("%s died %d times in a row and is left; mend it, then `minimind down` and `up`", name, TRIES)
            servers.write_json(state_path(self.root), [key for key, one in self.restarts.items() if one.gave_up])

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


def given_up(root: Path) -> list[str]:
    """The services that died too often in a row and are not started again any more; for `minimind status`."""
    return list(servers.read_json(state_path(root)) or [])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Restarts services that died; started by `minimind up`.")
    parser.add_argument("--store", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    Keeper(arguments.store).keep()
