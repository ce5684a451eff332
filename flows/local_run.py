"""A flow in this process, as the commands call it: with a Prefect server of its own where none is named."""

import fcntl
import importlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

from flows import servers
from flows.own_server import own_prefect_server
from flows.profiles import recorded_place
from flows.progress import shown_progress
from flows.services import KEEPER
from flows.settings import join_team
from minimind.errors import ServerError, UserError
from minimind.registry import tracking
from minimind.store import disk_full

NEEDED = ("mlflow", "torch", "duckdb", "pyarrow", "numba")
BACK_WITHIN_SECONDS = 150.0  # a server that its keeper starts again, or SQLite under load: two minutes were seen
FULL_BYTES = 1 << 20  # free on a disk on which no database can work


def called(root: Path, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a flow returns that `call` imports and calls: in this process, its progress shown on stderr."""
    check_tracking_server()
    with redirect_stdout(sys.stderr), shown_progress(), prefect_server(root):
        signal.signal(signal.SIGTERM, stop_politely)
        try:
            return call()
        except Exception as error:
            said = as_user_error(error, root)
            if said is None:
                raise
            raise said from None


def as_user_error(error: Exception, root: Path) -> UserError | None:
    """What a person can mend behind an error; None for a defect, and for an error that says it already.

    Prefect cannot tell its server that a run has failed where that server is gone, or lies on a full disk as the store
    does; its client's error then covers the one that the run failed with.
    """
    if isinstance(error, UserError):
        return None
    behind: BaseException | None = error
    while isinstance(error, httpx.HTTPError) and behind is not None:
        if isinstance(behind, UserError):
            return behind
        behind = behind.__cause__ or behind.__context__
    if (
        root.exists() and shutil.disk_usage(root).free < FULL_BYTES
    ):  # the server that lies there answers everything with 500
        return disk_full(root)
    if isinstance(error, httpx.TransportError):
        return ServerError(f"the Prefect server went away in the middle ({error}); run again: finished stages are kept")
    return None


def stop_politely(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends a run as Ctrl-C does: with a checkpoint, and with nothing left running."""
    raise KeyboardInterrupt


@contextmanager
def prefect_server(root: Path) -> Iterator[None]:
    """Settings for the server that PREFECT_API_URL names, for that of `minimind up`, or for one of this run's own."""
    named = os.environ.get("PREFECT_API_URL")
    os.environ.update(PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL", PREFECT_LOGGING_COLORS="false")
    if named:
        servers.check_reachable("Prefect", f"{named.rstrip('/')}/health", "PREFECT_API_URL")
        join_team(root)
        os.environ.update(servers.prefect_settings(root, named))
        yield
        return
    with ExitStack() as kept:
        with servers.held(servers.users_lock(root), fcntl.LOCK_SH):  # an `up` that has begun is waited for
            if not joined_up(root):
                join_team(root)
                with imported_meanwhile():
                    url = kept.enter_context(own_prefect_server(root))
                kept.callback(send_logs)
                os.environ.update(servers.prefect_settings(root, url))
        yield


def send_logs() -> None:
    """Prefect sends what was logged last when this process ends, which a server of this run's own does not live to."""
    if handlers := sys.modules.get("prefect.logging.handlers"):
        handlers.APILogHandler().flush()


@contextmanager
def imported_meanwhile() -> Iterator[None]:
    """Has what every flow needs imported, Prefect apart, by the time at which the server is up."""

    def load() -> None:
        for name in NEEDED:
            importlib.import_module(name)

    tracking.quieten()
    importing = threading.Thread(target=load, name="imports")
    importing.start()
    try:
        yield
    finally:
        importing.join()


def joined_up(root: Path) -> bool:
    """Sets addresses and passwords of what `minimind up` started; False where neither its Prefect nor a keeper is up.

    A keeper starts Prefect again where it died: a second server would meet it on one database. Raises ServerError where
    Prefect is away for longer.
    """
    if not servers.running_servers(root).keys() & {"Prefect", KEEPER}:
        return False
    place = recorded_place(root)
    assert place, "what is up was recorded"
    said, deadline = False, time.monotonic() + BACK_WITHIN_SECONDS
    while not servers.answers(f"{place.prefect}/api/health"):
        if time.monotonic() > deadline:
            raise ServerError(
                f"the Prefect server of `minimind up` does not answer at {place.prefect}, and a second one must not "
                "use its database: see `minimind status`, or run again after `minimind down`"
            )
        if not said:
            sys.stderr.write(f"waiting for the Prefect server of `minimind up` at {place.prefect}\n")
            said = True
        time.sleep(0.5)
    chosen = {"MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"]} if "MLFLOW_TRACKING_URI" in os.environ else {}
    os.environ.update(place.client_environment() | chosen)
    return True


def check_tracking_server() -> None:
    """Refuses at once, before MLflow is imported, where MLFLOW_TRACKING_URI names a server that does not answer."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(("http://", "https://")):
        servers.check_reachable("MLflow", f"{uri.rstrip('/')}/health", "MLFLOW_TRACKING_URI")
