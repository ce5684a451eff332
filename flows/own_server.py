"""The Prefect server of one `minimind run`.

It lives exactly as long as some process holds the shared lock `prefect-users` of the store, which the kernel drops even
at SIGKILL.
"""

import argparse
import fcntl
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.dead_runs import end_left_behind
from flows.prefect_api import PrefectApi
from flows.prefect_server import server_command
from flows.servers import (
    HEALTHY_WITHIN_SECONDS,
    HOST,
    Started,
    answers,
    die_with_parent,
    end,
    free_port,
    held,
    lock_now,
    log_path,
    prefect_settings,
    read_as,
    spawn,
    stop,
    users_lock,
    wait_until_healthy,
    write_json,
)
from flows.services import WORKER_NAME
from minimind.errors import ServerError
from minimind.store import Store


@dataclass(frozen=True)
class Record:
    """Of the server that is up, for runs that come later."""

    url: str
    process: Started


@contextmanager
def own_prefect_server(root: Path) -> Iterator[str]:
    """The API address of this store's Prefect server, started unless another run has it up; ends with its last user."""
    with held(users_lock(root), fcntl.LOCK_SH):
        with held(root / "locks" / "prefect-start", fcntl.LOCK_EX):
            url = _recorded_server(root) or _start_watched_server(root)
        yield url


def _recorded_server(root: Path) -> str | None:
    """The address of a living server of this store, or None; one that lives but gives no answer for long is ended."""
    record = _read_record(root)
    if record is None:
        return None
    process = record.process
    deadline = time.monotonic() + HEALTHY_WITHIN_SECONDS  # another run may be at work on it, and the machine busy
    while process.is_alive() and time.monotonic() < deadline:
        if answers(f"{record.url}/health"):
            return record.url
        time.sleep(0.2)
    stop([process])
    _record_path(root).unlink(missing_ok=True)
    return None


def _start_watched_server(root: Path) -> str:
    port = free_port()
    url = f"http://{HOST}:{port}/api"
    log = log_path(root, "prefect")
    command = [sys.executable, "-m", "flows.own_server", "--root", str(root), "--port", str(port)]
    watcher = spawn(command, log, prefect_settings(root) | {"PREFECT_SERVER_UI_ENABLED": "false"})
    try:
        wait_until_healthy("Prefect", lambda: answers(f"{url}/health"), watcher, log)
    except BaseException:
        end(watcher)  # and its server with it
        raise
    end_left_behind(Store(root, ""), WORKER_NAME, PrefectApi(url).post)
    return url


def watch_server(root: Path, port: int) -> None:
    """Runs a Prefect server until nobody holds the lock `prefect-users`; the body of the watcher process."""
    server = subprocess.Popen(server_command(HOST, port, [HOST, "localhost"]), preexec_fn=die_with_parent)
    record = Record(f"http://{HOST}:{port}/api", Started.of("Prefect", server.pid))
    write_json(_record_path(root), asdict(record))
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop_signal, lambda *_: sys.exit(0))
    try:
        with users_lock(root).open("a") as users:
            while server.poll() is None and not lock_now(users, fcntl.LOCK_EX):
                time.sleep(0.25)
            _record_path(root).unlink(missing_ok=True)
            end(server)  # while the lock is held: a run that comes now waits, and starts a server of its own
    finally:
        end(server)


def _read_record(root: Path) -> Record | None:
    """None also for one of another version: its server ends with its last user, and a second one is started."""
    with suppress(ServerError):
        return read_as(Record, _record_path(root), "it is written anew")
    return None


def _record_path(root: Path) -> Path:
    return root / "servers" / "run.json"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Watches one run's Prefect server; started by `minimind run`.")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    watch_server(arguments.root, arguments.port)
