"""Keeps what `minimind up` started: restarts a service that died or hangs, ends flow runs whose process is gone.

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
from datetime import datetime
from pathlib import Path

import httpx

from flows import servers
from flows.dead_runs import DeadRuns
from flows.keeper_state import KeeperState, save_state, state_path
from flows.profiles import Place, recorded_place
from flows.services import KEEPER, WORKER, WORKER_NAME
from flows.up import start_again
from minimind.errors import UserError
from minimind.masking import masked
from minimind.store import Store

Answer = Callable[[], bool]

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
PAUSE_SECONDS = (0.0, 2.0, 10.0, 30.0, 60.0, 120.0)  # before each try in a row
LATER_SECONDS = 600.0  # before each after these: a disk that was full may have room again, with nobody there to say so
TRIES = len(PAUSE_SECONDS)
ASK_SECONDS = 30.0  # between two questions; healthy so long after its start, a service is tried anew when it dies
HANGING_ASKED = 10  # times in a row without an answer, five minutes: Prefect on SQLite was seen to take two


@dataclass
class Restarts:
    """Of one service: how often in a row, none of which has led to a healthy one, and when the next may be."""

    tries: int = 0
    tried_at: float = float("-inf")  # monotonic
    asked_at: float = float("-inf")
    unanswered: int = 0  # questions in a row

    @property
    def is_failing(self) -> bool:
        """Whether it is tried now and then only."""
        return self.tries >= TRIES

    @property
    def is_hanging(self) -> bool:
        """Whether it has been silent for too long, which is longer at each try: a database may be moved at a start."""
        return self.unanswered >= HANGING_ASKED * (1 + min(self.tries, TRIES))

    def is_due(self, now: float) -> bool:
        """Whether to start it now, which counts as a try."""
        if now - self.tried_at < (LATER_SECONDS if self.is_failing else PAUSE_SECONDS[self.tries]):
            return False
        self.tries, self.tried_at, self.unanswered = self.tries + 1, now, 0
        return True

    def note_alive(self, is_healthy: Answer, could_answer: Answer, now: float) -> None:
        """Asks it now and then. An answer ends the tries: what ends the service later is another thing."""
        if now - max(self.asked_at, self.tried_at) < ASK_SECONDS:
            return
        self.asked_at = now
        if is_healthy():
            self.tries = self.unanswered = 0
        else:
            self.unanswered = self.unanswered + 1 if could_answer() else 0


class Keeper:
    def __init__(self, root: Path) -> None:
        self.root, self.store = root, Store(root, "")
        self.restarts: dict[str, Restarts] = {}
        self.said: dict[str, str] = {}  # to `minimind status`, of services
        self.told: KeeperState | None = None  # to `minimind status`, all of it
        self.trouble: str | None = None  # of the last look, as logged
        self.dead_runs = DeadRuns(self.store, WORKER_NAME)
        self.mlflow_told: subprocess.Popen[bytes] | None = None  # of what is abandoned now
        self.unanswered = False  # by Prefect, the last time that it was asked

    def keep(self) -> None:
        while True:
            self.try_to_look()
            time.sleep(LOOK_SECONDS)

    def try_to_look(self) -> None:
        """One look. What keeps it from its end is logged when it begins or changes, and told to the status."""
        trouble = None
        try:
            if place := recorded_place(self.root):
                self.look(place)
        except Exception as error:  # noqa: BLE001 - a full disk, a database that is away: the next look may do better
            trouble = error
        try:
            servers.cut_logs(self.root)
            self.tell_status(describe(trouble))
        except OSError as error:  # the same disk; the status sees that nothing is told any more
            trouble = trouble or error
        if describe(trouble) != self.trouble:
            self.trouble = describe(trouble)
            logger.error("looks fail: %s", self.trouble, exc_info=trouble) if trouble else logger.info("looks are well")

    def look(self, place: Place) -> None:
        """Starts each service that died, unless one before it, which it may need, will soon be well; ends dead runs."""
        recorded, described = servers.recorded_servers(self.root), place.services()
        kept = [server for server in recorded if server.name in described and server.name != KEEPER]
        for position, server in enumerate(kept):
            earlier = [(self.restarts_of(one.name), described[one.name].is_healthy) for one in kept[:position]]
            if server.is_alive():
                self.ask(server, described[server.name].is_healthy, [is_healthy for _, is_healthy in earlier])
            elif all(one.is_failing or is_healthy() for one, is_healthy in earlier):
                self.restart(server.name, time.monotonic())
        if "Prefect" in servers.running_servers(self.root):
            self.end_dead_runs(place)

    def ask(self, server: servers.Started, is_healthy: Answer, earlier: list[Answer]) -> None:
        """Stops a service that lives and has long not answered; the next look starts it again."""

        def could_answer() -> bool:  # else its silence may be another one's: a worker is heard of through Prefect
            return not (server.name == WORKER and self.unanswered) and all(answers() for answers in earlier)

        restarts = self.restarts_of(server.name)
        restarts.note_alive(is_healthy, could_answer, time.monotonic())
        if not restarts.is_hanging:
            return
        silent = f"lived and did not answer {restarts.unanswered} times in a row"
        logger.warning("%s %s; it is stopped, to be started again", server.name, silent)
        self.said[server.name] = (
            f"{silent}; stopped, to be started again, at {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
        )
        restarts.unanswered = 0
        if server.name == WORKER:
            servers.kill_alone(server)  # its runs go on; at TERM it would end them
        else:
            servers.stop([server])

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

    def tell_status(self, trouble: str | None) -> None:
        failing = [name for name, restarts in self.restarts.items() if restarts.is_failing]
        state = KeeperState(failing, self.said | ({KEEPER: f"looks fail: {trouble}"} if trouble else {}))
        if state != self.told:
            save_state(self.root, state)
            self.told = state
        state_path(self.root).touch()

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


def describe(error: Exception | None) -> str | None:
    """One line."""
    return error and masked(f"{type(error).__name__}: {error}").partition("\n")[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Restarts services that died; started by `minimind up`.")
    parser.add_argument("--store", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    Keeper(arguments.store).keep()
