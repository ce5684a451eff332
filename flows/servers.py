"""Starts, watches and stops Prefect, MLflow and a worker; on 127.0.0.1 unless told otherwise.

Two ways. `own_prefect_server` is for one `minimind run`: the server lives exactly as long as some process holds the
shared lock `prefect-users` of the store, which the kernel drops even at SIGKILL. `start_all` and `stop_all` are
`minimind up` and `minimind down`: they stay until they are told to go, and are found again by a record in the store.
"""

import argparse
import ctypes
import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import httpx
import psutil

from minimind.errors import ServerError
from minimind.masking import masked

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
PREFECT_PORT, MLFLOW_PORT = 4200, 5000
HEALTHY_WITHIN_SECONDS = 120.0
PRIVATE_SETTINGS = {
    "DO_NOT_TRACK": "true",  # MLflow wants the literal `true`
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # its pages load a configuration from an analytics service all the same
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


# --- settings ---------------------------------------------------------------------------------------------------------


def prefect_settings(root: Path, api_url: str | None = None) -> dict[str, str]:
    """Environment for every process that talks to Prefect. Prefect reads it at import, so set it before."""
    settings = PRIVATE_SETTINGS | {
        "PREFECT_HOME": str(root / "prefect"),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "minimind",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_CLIENT_MAX_RETRIES": "2",  # the default of 5 takes over a minute for each call to a dead server
    }
    return settings | ({"PREFECT_API_URL": api_url} if api_url else {})


# --- a server for one run ---------------------------------------------------------------------------------------------


@contextmanager
def own_prefect_server(root: Path) -> Iterator[str]:
    """The API address of this store's Prefect server, started unless another run has it up; ends with its last user."""
    with _held(root / "locks" / "prefect-users", fcntl.LOCK_SH):
        with _held(root / "locks" / "prefect-start", fcntl.LOCK_EX):
            url = _recorded_server(root) or _start_watched_server(root)
        yield url


def _recorded_server(root: Path) -> str | None:
    """The address of a living server of this store, or None; one that lives but does not answer is ended."""
    record = _read_json(_record_path(root))
    if record is None:
        return None
    process = Started(**record["process"])
    if process.is_alive() and answers(f"{record['url']}/health"):
        return str(record["url"])
    stop([process])
    _record_path(root).unlink(missing_ok=True)
    return None


def _start_watched_server(root: Path) -> str:
    port = _free_port()
    url = f"http://{HOST}:{port}/api"
    log = _log_path(root, "prefect")
    watcher = _spawn(
        [sys.executable, "-m", "flows.servers", "--root", str(root), "--port", str(port)],
        log,
        prefect_settings(root),
    )
    _wait_until_healthy("Prefect", f"{url}/health", watcher, log)
    end_dead_runs(url)
    return url


def watch_server(root: Path, port: int) -> None:
    """Runs a Prefect server until nobody holds the lock `prefect-users`; the body of the watcher process."""
    server = subprocess.Popen(prefect_command(port), preexec_fn=die_with_parent)
    record = {"url": f"http://{HOST}:{port}/api", "process": asdict(Started.of("Prefect", server.pid))}
    _write_json(_record_path(root), record)
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop_signal, lambda *_: sys.exit(0))
    try:
        with (root / "locks" / "prefect-users").open("a") as users:
            while server.poll() is None and not _lock_now(users, fcntl.LOCK_EX):
                time.sleep(0.25)
            _record_path(root).unlink(missing_ok=True)
            _end(server)  # while the lock is held: a run that comes now waits, and starts a server of its own
    finally:
        _end(server)


def end_dead_runs(url: str) -> None:
    """Marks runs as crashed that an ended server still calls running: their processes held the server alive."""
    running = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
    crashed = {"state": {"type": "CRASHED", "message": "The process ended without a word."}, "force": True}
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
        for run in client.post("/flow_runs/filter", json=running).raise_for_status().json():
            client.post(f"/flow_runs/{run['id']}/set_state", json=crashed).raise_for_status()


def _end(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


# --- servers that stay ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Started:
    """A process that we started; its start time tells it from a later one with the same pid."""

    name: str
    pid: int
    started_at: float
    url: str = ""

    @classmethod
    def of(cls, name: str, pid: int, url: str = "") -> "Started":
        return cls(name, pid, psutil.Process(pid).create_time(), url)

    def process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same else None

    def is_alive(self) -> bool:
        return self.process() is not None


def running_servers(root: Path) -> dict[str, Started]:
    """What `minimind up` started for this store and is still alive, by name."""
    record = _read_json(_up_path(root)) or []
    started = [Started(**entry) for entry in record]
    return {server.name: server for server in started if server.is_alive()}


@dataclass(frozen=True)
class Addresses:
    prefect: str
    mlflow: str

    @classmethod
    def at(cls, prefect_port: int, mlflow_port: int) -> "Addresses":
        return cls(f"http://{HOST}:{prefect_port}", f"http://{HOST}:{mlflow_port}")


def start_all(
    root: Path,
    project: Path,
    say: Callable[[str], None],
    prefect_port: int = PREFECT_PORT,
    mlflow_port: int = MLFLOW_PORT,
) -> dict[str, Started]:
    """Prefect, MLflow, the deployments of the project's `prefect.yaml` and a worker; returns once each is healthy."""
    running = running_servers(root)
    if running:
        raise ServerError(f"already up: {', '.join(running)}; `minimind down` stops them")
    if prefect_port == mlflow_port:
        raise ServerError(f"both servers were given port {prefect_port}; give them different ones")
    for port in (prefect_port, mlflow_port):
        _refuse_taken_port(port)
    addresses = Addresses.at(prefect_port, mlflow_port)
    with _held_now(root / "locks" / "prefect-users"):
        started: list[Started] = []
        try:
            for start in (_start_prefect, _start_mlflow, _deploy, _start_worker):
                start(root, project, addresses, started)
                say(
                    f"{started[-1].name:<8} {started[-1].url}"
                    if start is not _deploy
                    else "deployed what prefect.yaml lists"
                )
        except BaseException:
            stop(started)
            _up_path(root).unlink(missing_ok=True)
            raise
    return {server.name: server for server in started}


def _start_prefect(root: Path, project: Path, addresses: Addresses, started: list[Started]) -> None:
    log = _log_path(root, "prefect")
    command = prefect_command(urlsplit(addresses.prefect).port, ui=True)
    server = _spawn(command, log, prefect_settings(root))
    _note(root, started, Started.of("Prefect", server.pid, addresses.prefect))
    _wait_until_healthy("Prefect", f"{addresses.prefect}/api/health", server, log)
    end_dead_runs(f"{addresses.prefect}/api")


def _start_mlflow(root: Path, project: Path, addresses: Addresses, started: list[Started]) -> None:
    from minimind.registry import tracking

    log = _log_path(root, "mlflow")
    database = f"sqlite:///{root / 'mlflow.db'}"
    tracking.initialise(database, root)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--workers", "1"]
    command += ["--port", str(urlsplit(addresses.mlflow).port), "--backend-store-uri", database]
    # Artifacts are files of the store for every client, so that models are found with and without this server.
    command += ["--no-serve-artifacts", "--default-artifact-root", str(root / "mlflow-artifacts")]
    environment = PRIVATE_SETTINGS | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = _spawn(command, log, environment)
    _note(root, started, Started.of("MLflow", server.pid, addresses.mlflow))
    _wait_until_healthy("MLflow", f"{addresses.mlflow}/health", server, log)


def _deploy(root: Path, project: Path, addresses: Addresses, started: list[Started]) -> None:
    from flows.deployments import deploy_all

    deploy_all(project, prefect_settings(root, f"{addresses.prefect}/api"))


def _start_worker(root: Path, project: Path, addresses: Addresses, started: list[Started]) -> None:
    environment = prefect_settings(root, f"{addresses.prefect}/api")
    environment |= {"MLFLOW_TRACKING_URI": addresses.mlflow, "MINIMIND_STORE": str(root)}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local", "--type", "process"]
    log = _log_path(root, "worker")
    worker = _spawn([*command, "--name", "minimind"], log, environment, cwd=project)
    _note(root, started, Started.of("worker", worker.pid, "polls the work pool `local`"))
    _wait("worker", lambda: _has_worker(addresses), worker, log)


def _has_worker(addresses: Addresses) -> bool:
    url = f"{addresses.prefect}/api/work_pools/local/workers/filter"
    try:
        return any(row["status"] == "ONLINE" for row in httpx.post(url, json={}, timeout=5, trust_env=False).json())
    except (httpx.HTTPError, ValueError, TypeError, KeyError):
        return False


def stop_all(root: Path) -> list[str]:
    """Stops what `start_all` recorded and nothing else; the names of what was still alive, last started first."""
    alive = list(reversed(running_servers(root).values()))
    stop(alive)
    _up_path(root).unlink(missing_ok=True)
    return [server.name for server in alive]


def stop(servers: list[Started]) -> None:
    """TERM to each with all its descendants; a second TERM, which Prefect's worker waits for; then KILL."""
    found = [process for server in servers if (process := server.process())]
    family = [*found, *(child for process in found for child in process.children(recursive=True))]
    for stop_signal, seconds in ((signal.SIGTERM, 3), (signal.SIGTERM, 7), (signal.SIGKILL, 5)):
        for process in family:
            try:
                process.send_signal(stop_signal)
            except psutil.NoSuchProcess:
                continue
        _, family = psutil.wait_procs(family, timeout=seconds)
        if not family:
            return


# --- commands, processes, health --------------------------------------------------------------------------------------


def prefect_command(port: int | None, ui: bool = False) -> list[str]:
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    return command if ui else [*command, "--no-ui"]


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills the child when the thread that made it ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _spawn(
    command: list[str], log: Path, environment: Mapping[str, str], cwd: Path | None = None
) -> "subprocess.Popen[bytes]":
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | environment, cwd=cwd,
        )  # fmt: skip


def _wait_until_healthy(name: str, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    _wait(name, lambda: answers(url), process, log)


def _wait(name: str, is_ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + HEALTHY_WITHIN_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            _end(process)
            tail = log.read_text(errors="replace").strip()[-1500:]
            raise ServerError(f"{name} did not become healthy; the end of {log}:\n{tail}")
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == httpx.codes.OK
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def check_reachable(name: str, url: str, setting: str) -> None:
    if not answers(url):
        raise ServerError(
            f"{name} does not answer at {masked(url)}; start it, or unset {setting} to have one started for you"
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _refuse_taken_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise ServerError(f"port {port} of {HOST} is taken by another program; stop it and try again") from None


# --- records and locks ------------------------------------------------------------------------------------------------


def _record_path(root: Path) -> Path:
    return root / "servers" / "run.json"


def _up_path(root: Path) -> Path:
    return root / "servers" / "up.json"


def _log_path(root: Path, name: str) -> Path:
    return root / "servers" / f"{name}.log"


def _note(root: Path, started: list[Started], server: Started) -> None:
    started.append(server)
    _write_json(_up_path(root), [asdict(entry) for entry in started])


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1))
    temporary.replace(path)


@contextmanager
def _held(path: Path, kind: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, kind)
        yield


@contextmanager
def _held_now(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        if not _lock_now(handle, fcntl.LOCK_EX):
            raise ServerError("a `minimind run` is using this store's Prefect server; wait until it has ended")
        yield


def _lock_now(handle: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Watches one run's Prefect server; started by `minimind run`.")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    watch_server(arguments.root, arguments.port)
