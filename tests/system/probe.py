"""Why Prefect takes no request: one line for the log of a soak, in which the causes that come into question differ.

| cause | seen by |
|---|---|
| it is still starting: the port is bound only when the services run | no listener, CPU time that rises |
| its start died, and the keeper pauses | no process; the keeper's last line |
| its write was refused, as another one was under way | 503 at once, though /health answers and the database is free |
| a writer waits for the lock file of the leases | a lock file of seconds; its process is a zombie, or alive |
| more requests than it takes at once | /health that times out, though the port listens |
"""

import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import psutil

from flows.servers import HOST, log_path
from flows.services import KEEPER
from tests.system.installation import Installation

TIMEOUT_SECONDS = 2.0


def prefect_seen(installation: Installation) -> str:
    """Takes seconds where nothing answers."""
    root, address = installation.store.root, f"http://{HOST}:{installation.prefect_port}"
    _, health = answered(lambda: httpx.get(f"{address}/api/health", timeout=TIMEOUT_SECONDS, trust_env=False))
    parts = (
        f"/health {health}",
        listener(installation.prefect_port),
        process(installation.service("Prefect")),
        lease_lock(root / "prefect" / "concurrency_leases" / "expirations.lock"),
        f"database {writable(root / 'prefect' / 'prefect.db')}",
        f"keeper: {last_line(log_path(root, KEEPER))}",
    )
    return "; ".join(parts)


def answered(ask: Callable[[], httpx.Response]) -> tuple[bool, str]:
    """Whether a request succeeded; its status or the error's type, and how long that took."""
    began = time.monotonic()
    try:
        answer = ask()
        succeeded, said = answer.is_success, str(answer.status_code)
    except httpx.HTTPError as error:
        succeeded, said = False, type(error).__name__
    return succeeded, f"{said} in {time.monotonic() - began:.3f} s"


def listener(port: int) -> str:
    with socket.socket() as caller:
        caller.settimeout(TIMEOUT_SECONDS)
        return "no listener" if caller.connect_ex((HOST, port)) else "port listens"


def process(found: psutil.Process | None) -> str:
    try:
        return f"pid {found.pid} {found.status()}, {sum(found.cpu_times()[:2]):.1f} s of CPU" if found else "no process"
    except psutil.Error:
        return "no process"


def lease_lock(path: Path) -> str:
    """Its age, and what its process is."""
    try:
        age, pid = time.time() - path.stat().st_mtime, path.read_text().strip()
    except OSError:
        return "no lease lock"
    try:
        return f"lease lock {age:.1f} s old, pid {pid} {psutil.Process(int(pid)).status()}"
    except (psutil.Error, ValueError):
        return f"lease lock {age:.1f} s old, pid {pid or 'none'} gone"


def writable(database: Path) -> str:
    try:
        with closing(
            sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None)
        ) as held:
            held.execute("begin immediate")
            held.execute("rollback")
    except sqlite3.OperationalError as error:
        return str(error)
    return "free"


def last_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").rstrip().rpartition("\n")[2] or "silent"
    except FileNotFoundError:
        return "silent"
