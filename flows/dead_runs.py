"""Flow runs whose process is gone: which they are, and how they are ended on the Prefect server.

A run is alive while a process of this machine holds its lock in the store (`Store.in_use`), or was started for it by
our worker, which names the run in the process's environment. The first also covers `minimind run`; the second also the
seconds before a flow's first line and a worker that was killed.
"""

import logging
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psutil

from minimind.store import Store

logger = logging.getLogger(__name__)

Post = Callable[[str, object], Any]

RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"  # set by Prefect's process worker
UNENDED = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
SEEN_DEAD_SECONDS = 5.0  # between the two looks that have to agree: a run may be about to start or to end
PENDING_SECONDS = 90.0  # of a run that a worker has claimed: it asks a server that died just then for over a minute
TELL_AGAIN_SECONDS = 60.0  # a training has 35 to end in
CANCEL_SECONDS = 60.0  # for the worker, which gives a process 30 s; longer than that, nobody is ending it


@dataclass(frozen=True)
class Ended:
    run: str
    name: str
    state: str


class DeadRuns:
    """Looks at the runs that the server calls unended, again and again."""

    def __init__(self, store: Store, *workers: str | None) -> None:
        """Of those workers' runs a process has to be here; None: of runs that no worker has started, too."""
        self.store, self.workers = store, workers
        self._dead_since: dict[str, float] = {}
        self._cancelling: set[str] = set()  # at the last look
        self._told_at: dict[int, float] = {}  # pids that were told to stop

    def end(self, post: Post, now: float) -> list[Ended]:
        """Ends what is dead at a second look, and tells processes to stop that nobody cancels; what was ended.

        `post` sends a body to a path of Prefect's API and returns the answer; `now` is in seconds of a clock that does
        not jump.
        """
        runs = post("/flow_runs/filter", UNENDED)
        abandoned, processes = {path.name: path for path in self.store.abandoned_runs()}, processes_of_runs()
        dead = {run["id"] for run in runs if self._is_dead(run, abandoned, processes)}
        dead |= abandoned.keys() - processes.keys()
        self._dead_since = {run: self._dead_since.get(run, now) for run in dead}
        claimed = {run["id"] for run in runs if run["state_type"] == "PENDING"} - abandoned.keys()
        patience = dict.fromkeys(claimed, PENDING_SECONDS)
        due = {run for run, since in self._dead_since.items() if now - since >= patience.get(run, SEEN_DEAD_SECONDS)}
        ended = self._cancelled_though_crashed(post, runs) + [end_run(post, run) for run in runs if run["id"] in due]
        for run in due & abandoned.keys():  # only now, with all ended: until then it says which are dead
            abandoned[run].unlink(missing_ok=True)
        for run in runs:
            if run["id"] not in dead and is_left_uncancelled(run):
                self._stop(run, processes.get(run["id"], []), now)
        return ended

    def _cancelled_though_crashed(self, post: Post, runs: Iterable[Mapping[str, Any]]) -> list[Ended]:
        """A process that is told to end may call its run crashed; where somebody had asked for the end, it is not."""
        gone = self._cancelling - {run["id"] for run in runs}
        crashed = {"id": {"any_": sorted(gone)}, "state": {"type": {"any_": ["CRASHED"]}}}
        found = post("/flow_runs/filter", {"flow_runs": crashed}) if gone else []
        self._cancelling = {run["id"] for run in runs if run["state_type"] == "CANCELLING"}
        return [set_state(post, run, "CANCELLED", "It was to be cancelled, and has ended.") for run in found]

    def _stop(self, run: Mapping[str, Any], processes: Iterable[psutil.Process], now: float) -> None:
        """SIGTERM to each process, and no second one while it may be writing a checkpoint."""
        self._told_at = {pid: told_at for pid, told_at in self._told_at.items() if now - told_at < TELL_AGAIN_SECONDS}
        for process in (one for one in processes if one.pid not in self._told_at):
            logger.info("run %s is to be cancelled and nobody does; process %d is told to stop", run["id"], process.pid)
            self._told_at[process.pid] = now
            with suppress(psutil.Error):
                process.send_signal(signal.SIGTERM)

    def _is_dead(self, run: Mapping[str, Any], abandoned: Iterable[str], processes: Mapping[str, Any]) -> bool:
        if run["id"] in processes:
            return False
        ours = (run.get("labels") or {}).get("prefect.worker.name") in self.workers
        return run["id"] in abandoned or (ours and not self.store.is_locked(f"runs/{run['id']}"))


def end_left_behind(store: Store, worker: str, post: Post) -> None:
    """Ends what an earlier server left as unended; for one of this store that has just started, on which no run is.

    A `minimind run` whose server died, or whose disk was full, could not say how it ended; it holds no lock any more.
    """
    runs = DeadRuns(store, worker, None)
    for now in (0.0, PENDING_SECONDS):
        runs.end(post, now)


def processes_of_runs() -> dict[str, list[psutil.Process]]:
    """Flow run id -> the processes that a worker started for it, and theirs."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if run := process.environ().get(RUN_VARIABLE):
                found.setdefault(run, []).append(process)
    return found


def end_run(post: Post, run: Mapping[str, Any]) -> Ended:
    """Marks a run whose process is gone: as Cancelled where somebody wanted that, else as Crashed."""
    state = "CANCELLED" if run["state_type"] == "CANCELLING" else "CRASHED"
    return set_state(post, run, state, "The process ended without a word.")


def set_state(post: Post, run: Mapping[str, Any], state: str, message: str) -> Ended:
    post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": state, "message": message}, "force": True})
    return Ended(run["id"], run["name"], state)


def is_left_uncancelled(run: Mapping[str, Any]) -> bool:
    """Whether it should have been cancelled long ago: its worker was killed, and no other one knows of it."""
    return run["state_type"] == "CANCELLING" and seconds_since(run["state"]["timestamp"]) >= CANCEL_SECONDS


def seconds_since(timestamp: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(timestamp.replace("Z", "+00:00"))).total_seconds()
