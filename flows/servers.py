"""Starting, watching and stopping processes that outlive the command.

What `minimind up` started is recorded in the store's `servers/up.json`; a process is told from a later one of the same
pid by when it began. What a profile consists of stands in profiles.py.
"""

import ctypes
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx
import psutil
from pydantic import TypeAdapter, ValidationError

from minimind.errors import ServerError
from minimind.masking import masked

Kept = TypeVar("Kept")

HOST = "127.0.0.1"
HEALTHY_WITHIN_SECONDS = 300.0  # a busy machine; a process that has ended is said at once
MAX_LOG_BYTES = 50_000_000
HEALTHY = ("true", "OK")  # in Prefect's words, and in MLflow's
# The store and the service, in the environment of all that `minimind up` started and of what that started in turn.
UP_VARIABLE, SERVICE_VARIABLE = "MINIMIND_UP", "MINIMIND_SERVICE"
PRIVATE_SETTINGS = {
    "DO_NOT_TRACK": "true",  # MLflow wants the literal `true`
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # its pages load a configuration from an analytics service all the same
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def prefect_settings(root: Path, api_url: str | None = None) -> dict[str, str]:
    """Environment for every process that talks to Prefect. Prefect reads it at import, so set it before."""
    settings = PRIVATE_SETTINGS | {
        "PREFECT_HOME": str(root / "prefect"),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "minimind",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_CLIENT_MAX_RETRIES": "2",  # the default of 5 takes over a minute for each call to a dead server
        # in memory, the default, a slot that is held while the server restarts is never given back
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "flows.lease_storage",
    }
    return settings | ({"PREFECT_API_URL": api_url} if api_url else {})


# --- a service, and the process that it became ------------------------------------------------------------------------


@dataclass(frozen=True)
class Service:
    """A process to keep up, described so that it can be started again at any time."""

    name: str
    command: list[str]
    address: str
    is_healthy: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds secrets: in no log and no record
    prepare: Callable[[], None] = lambda: None  # before the first start; does nothing where all is there
    folder: Path | None = None  # to start in
    user: str | None = None  # to run as; needs root
    stops_children: bool = True  # False: the process ends its children itself, and SIGINT asks it to
    grace_seconds: float = 10.0  # until it is killed


@dataclass(frozen=True)
class Started:
    """A process that we started; `began` tells it from a later one with the same pid."""

    name: str
    pid: int
    started_at: float  # for people: it is not the same after the clock was set
    began: str = ""
    url: str = ""
    stops_children: bool = True
    grace_seconds: float = 10.0

    @classmethod
    def of(cls, name: str, pid: int, **more: Any) -> "Started":
        return cls(name, pid, psutil.Process(pid).create_time(), began(pid), **more)

    def process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = began(self.pid) == self.began and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same else None

    def is_alive(self) -> bool:
        return self.process() is not None


def began(pid: int) -> str:
    """The boot, and the ticks from it to the start of the process, which no setting of the clock changes.

    Raises psutil.NoSuchProcess. Where there is no /proc, the time of the start, which the system keeps as it was.
    """
    if sys.platform != "linux":
        return str(psutil.Process(pid).create_time())
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{fields[19]}"  # proc(5): field 22 of all


def start(root: Path, service: Service) -> Started:
    """Starts a service for the first time and waits until it is healthy. Raises ServerError with the end of its log."""
    service.prepare()
    started, process = launch(root, service)
    try:
        wait_until_healthy(service.name, service.is_healthy, process, log_path(root, service.name))
    except BaseException:
        stop([started, *left_over(root, service.name)])
        raise
    return started


def launch(root: Path, service: Service) -> "tuple[Started, subprocess.Popen[bytes]]":
    """Starts a service and records it, in the place of an earlier process of the same service."""
    environment = {**service.environment, **marks(root, service.name)}
    process = spawn(service.command, log_path(root, service.name), environment, service.folder, service.user)
    ending = {"stops_children": service.stops_children, "grace_seconds": service.grace_seconds}
    started = Started.of(service.name, process.pid, url=service.address, **ending)
    record(root, started)
    return started, process


def marks(root: Path, name: str) -> dict[str, str]:
    """The environment by which `left_over` finds what a service has left behind."""
    return {UP_VARIABLE: str(root), SERVICE_VARIABLE: name}


def spawn(
    command: list[str],
    log: Path,
    environment: Mapping[str, str],
    folder: Path | None = None,
    user: str | None = None,
) -> "subprocess.Popen[bytes]":
    """A process in a session of its own that writes into `log`; the log before it is kept as `.1`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    other = {"user": user, "group": user_group(user), "extra_groups": []} if user else {}
    with log.open("ab") as output:  # so that it can be cut while it is written to
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | environment, cwd=folder, **other,
        )  # fmt: skip


def user_group(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def wait_until_healthy(
    name: str, is_healthy: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path
) -> None:
    deadline = time.monotonic() + HEALTHY_WITHIN_SECONDS
    while not is_healthy():
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline:
            waited = f"did not answer within {HEALTHY_WITHIN_SECONDS:.0f} s; run again when this machine is less busy"
            tail = masked(log.read_text(errors="replace").strip()[-1500:]) or "(nothing)"
            raise ServerError(f"{name} {'ended at its start' if ended else waited}; the end of {log}:\n{tail}")
        time.sleep(0.2)


def answers(url: str) -> bool:
    """Whether Prefect's or MLflow's address of health says that it is well; another program's page does not."""
    try:
        answer = httpx.get(url, timeout=5, trust_env=False)
        return answer.status_code == httpx.codes.OK and answer.text.strip() in HEALTHY
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def check_reachable(name: str, url: str, setting: str) -> None:
    if not answers(url):
        raise ServerError(
            f"{name} does not answer at {masked(url)}; start it, correct the address, or unset {setting} to have one "
            "started for you"
        )


# --- stopping ---------------------------------------------------------------------------------------------------------


def stop(servers: list[Started]) -> None:
    """Ends each with all its descendants, one after the other: a worker may still say how its runs ended."""
    for server in servers:
        process = server.process()
        if process is None:
            continue
        family = [process, *process.children(recursive=True)]
        _terminate(family, server.grace_seconds) if server.stops_children else _ask_to_end(
            process, server.grace_seconds
        )
        _kill(family)


def stop_alone(server: Started) -> None:
    """Ends the process and none of its descendants."""
    if process := server.process():
        _terminate([process], server.grace_seconds)
        _kill([process])


def kill_alone(server: Started) -> None:
    """Ends the process at once and none of its descendants."""
    if process := server.process():
        _kill([process])


def _terminate(family: list[psutil.Process], grace_seconds: float) -> None:
    """TERM to all, and to the first a second one once it is alone for three seconds, which Prefect's worker waits for.

    None to the others: a flow that is told again would not wait for its training's checkpoint.
    """
    first, *others = family
    _send(family, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    _wait(others, deadline)
    if not _wait([first], min(deadline, time.monotonic() + 3)):
        _send([first], signal.SIGTERM)
        _wait([first], deadline)


def _wait(processes: list[psutil.Process], deadline: float) -> bool:
    """Until all are over; False where one is not in time."""
    while not all(map(is_over, processes)):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def is_over(process: psutil.Process) -> bool:
    """Whether it has ended; its parent, which may stand still itself, need not have taken notice."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _ask_to_end(process: psutil.Process, grace_seconds: float) -> None:
    _send([process], signal.SIGINT)
    psutil.wait_procs([process], timeout=grace_seconds)


def _kill(family: list[psutil.Process]) -> None:
    alive = [process for process in family if process.is_running()]
    _send(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)


def _send(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills the child when the thread that made it ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def left_over(root: Path, service: str | None = None) -> list[Started]:
    """Processes that services of this store, or one of them, have started and not taken with them."""
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(UP_VARIABLE) == str(root) and service in (None, environment.get(SERVICE_VARIABLE)):
                left.append(Started.of(process.name(), process.pid))
    return left


# --- ports ------------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def refuse_taken_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ServerError(f"port {port} of {host} is taken by another program; stop it and try again") from None
            raise ServerError(f"no server can listen on port {port} of {host}: {error.strerror}") from None


# --- records and locks ------------------------------------------------------------------------------------------------


def up_path(root: Path) -> Path:
    return root / "servers" / "up.json"


def users_lock(root: Path) -> Path:
    """Shared by runs whose Prefect server is the store's own; held alone while one is started in another way."""
    return root / "locks" / "prefect-users"


def log_path(root: Path, name: str) -> Path:
    return root / "servers" / f"{name.lower()}.log"


def cut_logs(root: Path) -> None:
    """Sets aside what a log has as `.1` where it is too long: of a database that is away, Prefect says 2 GB a day."""
    for log in (root / "servers").glob("*.log"):
        with suppress(FileNotFoundError):  # one that a service which is started again has just set aside
            if log.stat().st_size > MAX_LOG_BYTES:
                before = log.with_name(f"{log.name}.1")
                before.unlink(missing_ok=True)  # the disk may be full
                try:
                    shutil.copyfile(log, before)
                finally:
                    os.truncate(log, 0)


def recorded_servers(root: Path) -> list[Started]:
    """What `minimind up` started for this store and nobody has stopped: what should be alive, in order."""
    remedy = "end by hand what it names, and remove it"
    return read_as(list[Started], up_path(root), remedy) or []


def running_servers(root: Path) -> dict[str, Started]:
    """What `minimind up` started for this store and is still alive, by name."""
    return {server.name: server for server in recorded_servers(root) if server.is_alive()}


def record(root: Path, started: Started) -> None:
    """Notes a process in the place of an earlier one of the same name."""
    with held(root / "locks" / "servers-record", fcntl.LOCK_EX):
        servers = {server.name: server for server in recorded_servers(root)} | {started.name: started}
        write_json(up_path(root), [asdict(server) for server in servers.values()])


def forget_all(root: Path) -> None:
    up_path(root).unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def read_as(kind: type[Kept], path: Path, remedy: str) -> Kept | None:
    """What a JSON file holds, as `kind`; None where there is none. Raises ServerError where it holds something else."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ServerError(
            f"{path} is not what this version writes ({f'{where}: ' if where else ''}{first['msg']}); {remedy}"
        ) from error


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1))
    temporary.replace(path)


@contextmanager
def held(path: Path, kind: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, kind)
        yield


@contextmanager
def held_now(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        if not lock_now(handle, fcntl.LOCK_EX):
            raise ServerError("another command is using or starting this store's servers; wait until it has ended")
        yield


def lock_now(handle: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
