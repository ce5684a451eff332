"""What a profile starts, who is let in, and what `minimind up` refuses."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from flows import deployments, postgres, servers, services
from flows.cli import app
from flows.credentials import credentials_path, ensure_credentials, load_credentials
from flows.keeper_state import KeeperState, load_state, save_state, state_path
from flows.prefect_api import PrefectApi
from flows.prefect_server import Door
from flows.profiles import PROFILES, Place, Setup, recorded_place, save_setup
from flows.servers import Service, Started
from flows.service_settings import settings_path
from flows.services import KEEPER, RUNS_GRACE_SECONDS, WORKER_NAME, Once
from flows.settings import tracking_uri
from flows.status import look
from flows.up import check, down, runs_that_end, start_again, up, with_postgres
from minimind.errors import ServerError, UserError
from minimind.store import Store
from minimind.training.process import STOP_SECONDS
from tests.system.patience import wait_until

SETUP = Setup(project=Path(__file__).parents[2], prefect_port=4999, mlflow_port=5999)
TEAM = SETUP.model_copy(update={"profile": "team", "postgres": "postgresql://us%40er@db.example.org:5433/models"})
PASSWORD = "p@ss/wo%rd"


@pytest.fixture
def team(tmp_path: Path) -> Place:
    return Place(tmp_path, TEAM, ensure_credentials(tmp_path, PASSWORD))


# --- the store's MLflow -----------------------------------------------------------------------------------------------

MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


@pytest.fixture
def recorded_team(team: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A team's store whose servers are down, in a plain shell."""
    save_setup(team.root, team.setup)
    for name in (*team.client_environment(), "PREFECT_API_URL"):
        monkeypatch.setenv(name, "")  # whatever is set within is taken back
        monkeypatch.delenv(name)
    return team


def are_up(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(servers, "running_servers", lambda root: dict.fromkeys(names))


def test_store_of_a_team_is_joined_from_a_plain_shell(recorded_team: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    are_up(monkeypatch, "Prefect", "MLflow")
    assert tracking_uri(recorded_team.root) == recorded_team.mlflow
    assert recorded_team.client_environment().items() <= os.environ.items()


def test_another_prefect_server_gets_no_password_of_the_team(
    recorded_team: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example.org/api")
    are_up(monkeypatch, "MLflow")
    assert tracking_uri(recorded_team.root) == recorded_team.mlflow
    assert all(os.environ[name] == recorded_team.client_environment()[name] for name in MLFLOW)
    assert "PREFECT_API_AUTH_STRING" not in os.environ
    assert os.environ["PREFECT_API_URL"] == "https://prefect.example.org/api"


def test_run_of_the_worker_waits_for_a_server_that_is_away(
    recorded_team: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in recorded_team.services()["worker"].environment.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    assert tracking_uri(recorded_team.root) == recorded_team.mlflow
    assert dict(os.environ) == before


@pytest.mark.parametrize("prefect", [None, "https://prefect.example.org/api"], ids=["plain", "another Prefect"])
@pytest.mark.parametrize("ask", ["retrain", "compare", "prune"])
def test_store_of_a_team_whose_mlflow_is_down_gets_no_database_of_its_own(
    ask: str, prefect: str | None, recorded_team: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.compare import CompareRequest, compare
    from flows.prune import PruneRequest, when_unused
    from flows.retrain import RetrainRequest, start_run

    root = recorded_team.root
    if prefect:
        monkeypatch.setenv("PREFECT_API_URL", prefect)
    asked: dict[str, Callable[[], object]] = {
        "retrain": lambda: start_run(RetrainRequest(config="configs/demo.yaml", store=str(root))),
        "compare": lambda: compare.fn(CompareRequest(name="laws", store=str(root))).result(),
        "prune": lambda: when_unused(Store(root, ""), PruneRequest(keep_versions=1)),
    }
    with pytest.raises(ServerError, match=r"this store's MLflow.* is down; `minimind up` starts it"):
        asked[ask]()
    assert not (root / "mlflow.db").exists()


# --- services ---------------------------------------------------------------------------------------------------------


def test_local_profile_binds_to_loopback_and_asks_for_no_password(tmp_path: Path) -> None:
    services = Place(tmp_path, SETUP, {}).services()
    assert list(services) == ["Prefect", "MLflow", "worker", "keeper"]
    for name in ("Prefect", "MLflow"):
        command = services[name].command
        assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "PREFECT_SERVER_API_AUTH_STRING" not in services["Prefect"].environment
    assert "--no-serve-artifacts" in services["MLflow"].command
    assert services["MLflow"].environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/mlflow.db"
    assert services["MLflow"].environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert services["Prefect"].environment["PREFECT_UI_URL"] == "http://127.0.0.1:4999"
    leases = services["Prefect"].environment["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]
    assert leases == "flows.lease_storage"


def test_team_profile_has_passwords_postgres_and_proxied_artifacts(team: Place) -> None:
    services = team.services()
    prefect, mlflow, worker = services["Prefect"].environment, services["MLflow"], services["worker"].environment
    assert prefect["PREFECT_SERVER_API_AUTH_STRING"] == worker["PREFECT_API_AUTH_STRING"]
    database = prefect["PREFECT_API_DATABASE_CONNECTION_URL"]
    assert database == "postgresql+asyncpg://us%40er:p%40ss%2Fwo%25rd@db.example.org:5433/models_prefect"
    assert mlflow.environment["MLFLOW_BACKEND_STORE_URI"].endswith("@db.example.org:5433/models_mlflow")
    assert mlflow.environment["MLFLOW_AUTH_ADMIN_PASSWORD"] == worker["MLFLOW_TRACKING_PASSWORD"]
    assert "--serve-artifacts" in mlflow.command
    assert mlflow.command[mlflow.command.index("--app-name") + 1] == "basic-auth"
    assert "PostgreSQL" not in services  # somebody else keeps it up


def test_cluster_of_the_store_listens_on_loopback_alone(tmp_path: Path) -> None:
    setup = TEAM.model_copy(update={"postgres": None, "postgres_port": 5999})
    services = Place(tmp_path, setup, ensure_credentials(tmp_path, None)).services()
    assert next(iter(services)) == "PostgreSQL"
    assert "listen_addresses=127.0.0.1" in services["PostgreSQL"].command
    assert "unix_socket_directories=" in services["PostgreSQL"].command


def test_no_password_is_in_a_command_line_a_record_or_a_description(team: Place, tmp_path: Path) -> None:
    save_setup(tmp_path, team.setup)
    secrets = {value.partition(":")[2] or value for name, value in team.credentials.items() if "USER" not in name}
    secrets |= {PASSWORD, "p%40ss"}
    said = [repr(team), repr(team.postgres), team.postgres.address, (tmp_path / "servers" / "setup.json").read_text()]
    for service in team.services().values():
        said += [repr(service), *service.command]
    for secret in secrets:
        assert not [text for text in said if secret in text], secret


def test_recorded_setup_describes_the_same_services_again(team: Place, tmp_path: Path) -> None:
    save_setup(tmp_path, team.setup)
    again = recorded_place(tmp_path)
    assert again
    for name, service in team.services().items():
        assert again.services()[name].command == service.command
        assert again.services()[name].environment == service.environment


def test_names_by_which_others_reach_the_machine_are_allowed(tmp_path: Path) -> None:
    setup = TEAM.model_copy(update={"host": "0.0.0.0", "allowed_hosts": ("trainer.example.org",)})
    services = Place(tmp_path, setup, ensure_credentials(tmp_path, PASSWORD)).services()
    assert "trainer.example.org" in services["Prefect"].command
    allowed = services["MLflow"].command[services["MLflow"].command.index("--allowed-hosts") + 1].split(",")
    assert {"trainer.example.org", "trainer.example.org:5999", "127.0.0.1:5999"} <= set(allowed)
    assert "0.0.0.0" not in ",".join(allowed)
    assert services["Prefect"].environment["PREFECT_UI_API_URL"] == "https://trainer.example.org/api"
    assert services["worker"].environment["PREFECT_API_URL"] == "http://127.0.0.1:4999/api"


# --- credentials ------------------------------------------------------------------------------------------------------


def test_credentials_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    made = ensure_credentials(tmp_path, None)
    assert stat.S_IMODE(credentials_path(tmp_path).stat().st_mode) == 0o600
    assert ensure_credentials(tmp_path, None) == made == load_credentials(tmp_path)
    assert len(set(made.values())) == len(made)
    assert ensure_credentials(tmp_path, PASSWORD)["MINIMIND_POSTGRES_PASSWORD"] == PASSWORD
    assert ensure_credentials(tmp_path, None)["MINIMIND_POSTGRES_PASSWORD"] == PASSWORD


def test_credentials_that_others_may_read_are_refused(tmp_path: Path) -> None:
    ensure_credentials(tmp_path, None)
    credentials_path(tmp_path).chmod(0o644)
    with pytest.raises(ServerError, match="may be read by others"):
        load_credentials(tmp_path)


@pytest.mark.parametrize("content", [b"garbage", b"\xff\xfe\x00", b"", b"PREFECT_API_AUTH_STRING=a:b\n"])
def test_passwords_that_are_garbage_are_told_by_their_file(tmp_path: Path, content: bytes) -> None:
    ensure_credentials(tmp_path, None)
    save_setup(tmp_path, TEAM)
    credentials_path(tmp_path).write_bytes(content)
    with pytest.raises(ServerError, match=r"credentials.env has no .*; bring the file back"):
        recorded_place(tmp_path)


def test_store_whose_passwords_are_gone_gets_no_others_and_can_be_stopped(
    tmp_path: Path, sleeper: Callable[..., Service]
) -> None:
    servers.start(tmp_path, replace(sleeper(), name="Prefect"))
    save_setup(tmp_path, TEAM)
    for ask in (recorded_place, look, lambda root: check(root, TEAM)):
        with pytest.raises(
            ServerError, match=r"passwords of this store's servers are gone; bring .*credentials.env back"
        ):
            ask(tmp_path)
    assert not credentials_path(tmp_path).exists()
    assert runs_that_end(tmp_path) == []
    assert down(tmp_path) == ["Prefect"]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"host": "0.0.0.0"}, "asks for no password; use --profile team"),
        ({"artifacts": "s3://models"}, "belongs to the team profile"),
        ({"artifacts": "/data/models"}, "expected s3://BUCKET/PREFIX"),
        ({"prefect_port": 5999}, "both servers were given port 5999"),
        ({"profile": "team", "host": "203.0.113.7"}, "no server can listen on port"),
        (
            {"project": Path("/nowhere")},
            "/nowhere/prefect.yaml:\n  - there is no such file; run this where the project",
        ),
        ({"allowed_hosts": ("a.example.org", "a b;c")}, "--allow-host 'a b;c' is no name of a machine"),
        ({"allowed_hosts": ("https://a.example.org/",)}, "is no name of a machine; write it without scheme"),
    ],
    ids=[
        "open door",
        "artifacts of local",
        "artifacts elsewhere",
        "one port",
        "foreign address",
        "no project",
        "odd host",
        "URL",
    ],
)
def test_setup_that_cannot_be_is_refused(tmp_path: Path, changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        check(tmp_path, SETUP.model_copy(update=changed))


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (SETUP, TEAM, "made with --profile local, and would not be seen with team"),
        (TEAM, TEAM.model_copy(update={"postgres": None}), "--postgres postgresql://"),
        (TEAM, TEAM.model_copy(update={"artifacts": "s3://models"}), "--artifacts left out"),
    ],
    ids=["profile", "postgres", "artifacts"],
)
def test_history_of_a_store_is_not_left_behind(tmp_path: Path, before: Setup, now: Setup, expected: str) -> None:
    save_setup(tmp_path, before)
    with pytest.raises(UserError, match=expected):
        check(tmp_path, now)


def test_store_of_plain_runs_is_one_of_the_local_profile(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(UserError, match="made with --profile local"):
        check(tmp_path, TEAM)
    check(tmp_path, SETUP)


def test_machine_without_postgresql_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "PROGRAM_FOLDERS", tmp_path)
    postgres.programs.cache_clear()
    with pytest.raises(ServerError, match="apt-get install postgresql"):
        check(tmp_path, TEAM.model_copy(update={"postgres": None}))
    postgres.programs.cache_clear()


@pytest.mark.parametrize("command", ["up", "deploy"])
def test_address_with_a_password_is_not_taken_from_the_command_line(command: str, tmp_path: Path) -> None:
    words = [command, "--notify", "mailto://user:password@example.org?to=a@example.org", "--store", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "--notify holds a password, which every user of this machine could read" in done.stderr
    assert "put it in MINIMIND_NOTIFY" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_password_of_postgres_comes_from_the_environment_alone() -> None:
    url = "postgresql://user:secret@db.example.org/models"
    with pytest.raises(UserError, match="put it in MINIMIND_POSTGRES_URL") as refused:
        with_postgres(TEAM.model_copy(update={"postgres": url}), {})
    assert "secret" not in str(refused.value)
    setup, password = with_postgres(TEAM.model_copy(update={"postgres": None}), {"MINIMIND_POSTGRES_URL": url})
    assert (setup.postgres, password) == ("postgresql://user@db.example.org:5432/models", "secret")
    given = TEAM.model_copy(update={"postgres": setup.postgres})
    assert with_postgres(given, {"PGPASSWORD": "other"})[1] == "other"
    assert with_postgres(given, {})[1] is None  # what the store has kept counts
    with pytest.raises(UserError, match="belongs to the team profile"):
        with_postgres(SETUP.model_copy(update={"postgres": setup.postgres}), {})
    assert with_postgres(SETUP, {"MINIMIND_POSTGRES_URL": url}) == (SETUP, None)


@pytest.mark.parametrize(
    "address", ["mysql://u@h/x", "postgresql://h/x", "postgresql://u@h:port/x", "postgresql://u@h/x/y", "u@h"]
)
def test_address_that_is_no_postgres_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="expected postgresql://USER@HOST:PORT/NAME"):
        postgres.parse(address, None)


def test_tls_of_postgres_is_asked_for_in_each_drivers_words() -> None:
    server = postgres.parse("postgresql://u@db.example.org/x?sslmode=verify-full", "p")
    assert server.url("psycopg", "mlflow").endswith("/x_mlflow?sslmode=verify-full")
    assert server.url("asyncpg", "prefect").endswith("/x_prefect?ssl=verify-full")
    with pytest.raises(UserError, match="only sslmode"):
        postgres.parse("postgresql://u@h/x?options=-c", None)


# --- Prefect's door ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:4200"}, 200),
        ({"host": "LOCALHOST"}, 200),
        ({"host": "[::1]:4200"}, 200),
        ({"host": "127.0.0.1:4200", "origin": "http://localhost:4200"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "[::1"}, 403),
        ({}, 403),
        ({"host": "127.0.0.1:4200", "origin": "https://evil.example"}, 403),
        ({"host": "127.0.0.1:4200", "origin": "null"}, 403),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_foreign_host_or_origin_gets_403(headers: dict[str, str], status: int, kind: str) -> None:
    assert answer(headers, kind) == status


def answer(headers: dict[str, str], kind: str) -> int:
    """The status by which the server in front of a door answers."""
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    asyncio.run(Door(application, ["127.0.0.1", "localhost", "[::1]"])(scope, receive, send))
    return 403 if sent[0]["type"] == "websocket.close" else int(sent[0]["status"])


# --- starting, stopping, status ---------------------------------------------------------------------------------------


@pytest.fixture
def sleeper(tmp_path: Path) -> Callable[..., Service]:
    def make(code: str = "import time; time.sleep(600)", **more: Any) -> Service:
        ready = tmp_path / "ready"
        program = f"from pathlib import Path; Path({str(ready)!r}).touch(); {code}"
        return Service("sleeper", [sys.executable, "-c", program], "nowhere", ready.exists, **more)

    return make


def test_service_is_recorded_and_stopped_with_its_children(tmp_path: Path, sleeper: Callable[..., Service]) -> None:
    child = "import subprocess; subprocess.run(['sleep', '600'])"
    started = servers.start(tmp_path, sleeper(child))
    process = started.process()
    assert process
    while not (family := process.children(recursive=True)):
        time.sleep(0.05)
    assert list(servers.running_servers(tmp_path)) == ["sleeper"]
    assert down(tmp_path) == ["sleeper"]
    assert not started.is_alive()
    assert not any(child.is_running() and child.status() != "zombie" for child in family)
    assert servers.recorded_servers(tmp_path) == []


@pytest.mark.parametrize("by_itself", [True, False], ids=["ends with its child", "waits for a second TERM"])
def test_what_a_service_runs_is_told_to_stop_once_and_has_the_whole_grace(
    tmp_path: Path, sleeper: Callable[..., Service], by_itself: bool
) -> None:
    """A run whose training writes a checkpoint for longer than the three seconds that Prefect's worker waits for."""
    written = tmp_path / "checkpoint"
    flow = (
        "import pathlib, signal, time\n"
        "def stop(*_):\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "    time.sleep(4)\n"
        f"    pathlib.Path({str(written)!r}).touch()\n"
        "    raise SystemExit\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        f"pathlib.Path({str(tmp_path / 'under way')!r}).touch()\n"
        "time.sleep(600)\n"
    )
    then = "" if by_itself else "signal.signal(signal.SIGTERM, signal.SIG_DFL); time.sleep(600)"
    worker = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, lambda *_: None);"
        f"subprocess.run([sys.executable, '-c', {flow!r}]); {then}"
    )
    started = servers.start(tmp_path, sleeper(worker, grace_seconds=RUNS_GRACE_SECONDS))
    wait_until((tmp_path / "under way").exists, 10, "run")
    began = time.monotonic()
    servers.stop([started])
    assert written.exists()
    assert not started.is_alive()
    assert time.monotonic() - began < RUNS_GRACE_SECONDS / 2


def test_service_that_does_not_take_notice_of_its_childs_end_gets_its_second_term(
    tmp_path: Path, sleeper: Callable[..., Service]
) -> None:
    first, second = "lambda *_: signal.signal(signal.SIGTERM, second)", f"touch({str(tmp_path / 'second')!r})"
    code = (
        "import signal, subprocess, sys, time;"
        f"touch = lambda name: Path(name).touch(); second = lambda *_: sys.exit({second});"
        f"signal.signal(signal.SIGTERM, {first});"
        f"left = subprocess.Popen(['sleep', '600']); touch({str(tmp_path / 'under way')!r});"
        "[time.sleep(0.1) for _ in range(6000)]"
    )
    started = servers.start(tmp_path, sleeper(code, grace_seconds=60.0))
    wait_until((tmp_path / "under way").exists, 10, "child")
    began = time.monotonic()
    servers.stop([started])
    assert (tmp_path / "second").exists()
    assert time.monotonic() - began < 30


def test_service_that_the_keeper_had_started_again_is_stopped_in_its_turn(
    tmp_path: Path, sleeper: Callable[..., Service]
) -> None:
    child = "import subprocess; subprocess.run(['sleep', '600'])"
    keeper = servers.start(tmp_path, replace(sleeper(child), name=KEEPER)).process()
    assert keeper
    while not (family := keeper.children()):
        time.sleep(0.05)
    servers.record(tmp_path, Started.of("MLflow", family[0].pid))
    assert down(tmp_path) == [KEEPER, "MLflow"]
    assert not [process for process in (keeper, *family) if process.is_running() and process.status() != "zombie"]


def test_run_whose_worker_was_killed_has_the_time_of_a_workers_runs(
    tmp_path: Path, sleeper: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = servers.start(
        tmp_path, replace(sleeper("import subprocess; subprocess.run(['sleep', '600'])"), name="worker")
    )
    process = worker.process()
    assert process
    while not process.children():
        time.sleep(0.05)
    servers.kill_alone(worker)
    stop, graces = servers.stop, []
    monkeypatch.setattr(servers, "stop", lambda some: (graces.extend(one.grace_seconds for one in some), stop(some)))
    assert down(tmp_path) == ["what had outlived its service"]
    assert graces == [RUNS_GRACE_SECONDS] > [STOP_SECONDS + 5]
    assert not servers.left_over(tmp_path)


def test_process_is_known_by_its_beginning_though_the_clock_was_set(
    tmp_path: Path, sleeper: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = servers.start(tmp_path, sleeper())
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: create_time(process) + 3600)
    assert list(servers.running_servers(tmp_path)) == ["sleeper"]
    later = replace(Started.of("sleeper", os.getpid()), pid=started.pid)
    assert not later.is_alive(), "another process with its pid"
    assert down(tmp_path) == ["sleeper"]


def test_service_that_ends_its_children_itself_is_interrupted(tmp_path: Path, sleeper: Callable[..., Service]) -> None:
    ended = tmp_path / "ended"
    code = (
        "import signal, time, sys\n"
        f"signal.signal(signal.SIGINT, lambda *_: (Path({str(ended)!r}).touch(), sys.exit(0)))\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "time.sleep(600)"
    )
    service = sleeper(stops_children=False)
    service.command[2] = service.command[2].replace("import time; time.sleep(600)", "\n" + code)
    servers.start(tmp_path, service)
    time.sleep(0.2)
    down(tmp_path)
    assert ended.exists()


def test_service_that_does_not_come_up_says_why_and_leaves_nothing(
    tmp_path: Path, sleeper: Callable[..., Service]
) -> None:
    broken = Service("broken", [sys.executable, "-c", "raise SystemExit('no luck')"], "nowhere", lambda: False)
    with pytest.raises(ServerError, match=r"(?s)broken ended at its start.*no luck"):
        servers.start(tmp_path, broken)
    assert servers.running_servers(tmp_path) == {}


def test_log_before_a_restart_is_kept(tmp_path: Path, sleeper: Callable[..., Service]) -> None:
    for _ in range(2):
        servers.start(tmp_path, sleeper("print('said', flush=True); import time; time.sleep(600)"))
        time.sleep(0.2)
        down(tmp_path)
    assert (tmp_path / "servers" / "sleeper.log.1").read_text() == "said\n"


# --- an `up` that is disturbed ----------------------------------------------------------------------------------------


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[Place], Service | Once]]]:
    """Those of the local profile: a server, something to do once, a worker and the keeper, all asleep."""

    def sleeps(name: str) -> Service:
        return Service(name, [sys.executable, "-c", "import time; time.sleep(600)"], "nowhere", lambda: True)

    steps = [
        lambda place: sleeps("Prefect"), lambda place: Once(lambda: ["deployed"]), lambda place: sleeps("worker"),
        lambda place: sleeps(KEEPER),
    ]  # fmt: skip
    monkeypatch.setitem(PROFILES, "local", replace(PROFILES["local"], steps=steps))
    yield steps
    down(tmp_path)


def test_settings_of_the_store_are_in_the_environment_of_a_service_whoever_starts_it(
    tmp_path: Path, steps: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_BOTH", "the shell")
    settings_path(tmp_path).parent.mkdir()
    settings_path(tmp_path).write_text("# of the bucket\nKEY='a b=$c'\nOF_BOTH=the file\nWITHOUT\n")
    with pytest.raises(ServerError, match=r"settings\.env may be read by others; .*chmod 600"):
        up(tmp_path, SETUP, print)
    settings_path(tmp_path).chmod(0o600)
    with patch.dict(os.environ):
        up(tmp_path, SETUP, print)
    with patch.dict(os.environ):  # the keeper of another `up`
        again = start_again(tmp_path, "Prefect").process()
    try:
        assert again
        found = again.environ()
        assert (found["KEY"], found["OF_BOTH"], "WITHOUT" in found) == ("a b=$c", "the file", False)
    finally:
        down(tmp_path)


def killed(server: Started) -> None:
    process = server.process()
    assert process
    process.kill()
    process.wait()


def test_up_after_one_that_was_killed_midway_starts_all(tmp_path: Path, steps: list[Any]) -> None:
    save_setup(tmp_path, SETUP)
    half = servers.start(tmp_path, steps[0](None))
    said: list[str] = []
    up(tmp_path, SETUP, said.append)
    assert not half.is_alive()
    assert list(servers.running_servers(tmp_path)) == ["Prefect", "worker", KEEPER]
    assert "deployed" in said


def test_up_where_only_the_keeper_died_starts_it_alone(tmp_path: Path, steps: list[Any]) -> None:
    up(tmp_path, SETUP, lambda line: None)
    before = servers.running_servers(tmp_path)
    with pytest.raises(ServerError, match="already up"):
        up(tmp_path, SETUP, print)
    killed(before[KEEPER])
    said: list[str] = []
    with servers.held_now(servers.users_lock(tmp_path)), pytest.raises(ServerError, match="another command is"):
        up(tmp_path, SETUP, print)
    up(tmp_path, SETUP, said.append)
    assert "the keeper had died" in said[0]
    after = servers.running_servers(tmp_path)
    assert [name for name in after if after[name] != before[name]] == [KEEPER]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["TERM", "HUP"])
def test_up_that_is_told_to_stop_leaves_nothing(tmp_path: Path, steps: list[Any], number: signal.Signals) -> None:
    def told() -> None:
        os.kill(os.getpid(), number)
        time.sleep(60)

    steps[1] = lambda place: Once(told)
    before = signal.signal(number, signal.SIG_DFL)  # these tests may be run by nohup, and `up` leaves HUP ignored then
    try:
        with pytest.raises(KeyboardInterrupt):
            up(tmp_path, SETUP, print)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert not servers.left_over(tmp_path)
    assert recorded_place(tmp_path) is None


def test_what_a_server_has_left_behind_is_ended_before_it_is_started(tmp_path: Path, steps: list[Any]) -> None:
    left, _ = servers.launch(tmp_path, steps[0](None))
    servers.forget_all(tmp_path)
    up(tmp_path, SETUP, lambda line: None)
    assert not left.is_alive()


def test_status_says_what_is_down_and_nothing_where_nothing_should_be_up(tmp_path: Path) -> None:
    assert look(tmp_path).is_healthy
    save_setup(tmp_path, SETUP)
    assert look(tmp_path).services == []
    gone = subprocess.Popen(["true"])
    dead = Started.of("Prefect", gone.pid, url="http://127.0.0.1:4999")
    gone.wait()
    servers.record(tmp_path, dead)
    servers.record(tmp_path, Started.of("worker", os.getpid(), url="polls"))
    status = look(tmp_path)
    assert [(row.name, row.state) for row in status.services] == [("Prefect", "down"), ("worker", "unhealthy")]
    assert not status.is_healthy
    assert json.loads((tmp_path / "servers" / "up.json").read_text())[0]["name"] == "Prefect"


def test_worker_of_before_or_of_another_machine_is_not_taken_for_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = {name: {"name": name, "status": "ONLINE"} for name in (WORKER_NAME, "second")}

    def answered(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            return httpx.Response(204 if workers.pop(request.url.path.rpartition("/")[2], None) else 404)
        return httpx.Response(200, json=list(workers.values()))

    transport = httpx.MockTransport(answered)
    monkeypatch.setattr(
        PrefectApi, "client", lambda self, timeout=10: httpx.Client(base_url=self.url, transport=transport)
    )
    api = PrefectApi("http://127.0.0.1:4200/api")
    assert api.has_worker(WORKER_NAME)
    for _ in range(2):
        api.forget_worker(WORKER_NAME)
        assert not api.has_worker(WORKER_NAME)
    assert list(workers) == ["second"]


def test_worker_and_keeper_start_once_all_that_they_need_is_there() -> None:
    for profile in PROFILES.values():
        assert [step.__name__ for step in profile.steps[-2:]] == ["worker", "keeper"]


def test_automations_are_for_postgresql_alone() -> None:
    steps = {name: [step.__name__ for step in profile.steps] for name, profile in PROFILES.items()}
    assert "automations" in steps["team"]
    assert "automations" not in steps["local"]


def test_notify_is_refused_where_no_automation_would_tell(tmp_path: Path) -> None:
    refused = pytest.raises(UserError, match=r"--notify .* needs .* --profile team")
    with refused:
        up(tmp_path, SETUP, print, notify="https://chat.example.org/hooks/1", environ={})
    with refused:
        up(tmp_path, SETUP, print, environ={"MINIMIND_NOTIFY": "https://chat.example.org/hooks/1"})


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("http://127.0.0.1:4200/api", True),
        ("http://localhost:4200/api/", True),
        ("http://user:word@[::1]:4200/api", True),
        ("http://127.0.0.1:4201/api", False),
        ("http://prefect.example.org:4200/api", False),
        ("https://prefect.example.org/api", False),
    ],
)
def test_place_knows_the_addresses_of_its_server(tmp_path: Path, address: str, asked: bool) -> None:
    assert Place(tmp_path, Setup(project=tmp_path), {}).is_asked(address) == asked


@pytest.mark.parametrize("text", ['{"profile": "nope"}', "[1, 2]", "garbage{", '{"project": "/x", "more": 1}'])
def test_setup_that_is_none_is_said_with_its_file(tmp_path: Path, text: str) -> None:
    save_setup(tmp_path, SETUP)
    (tmp_path / "servers" / "setup.json").write_text(text)
    with pytest.raises(ServerError, match=r"setup.json is not what this version writes .*; remove it, and name"):
        recorded_place(tmp_path)


@pytest.mark.parametrize("text", ['[{"a": 1}]', "{", '"all"'])
def test_record_of_servers_that_is_none_is_said_with_its_file(tmp_path: Path, text: str) -> None:
    servers.up_path(tmp_path).parent.mkdir()
    servers.up_path(tmp_path).write_text(text)
    with pytest.raises(ServerError, match=r"up.json is not what this version writes .*; end by hand what it names"):
        servers.running_servers(tmp_path)


@pytest.mark.parametrize("text", ['{"failing": 5, "said": []}', "\xff", "{"])
def test_word_of_another_keeper_counts_as_none(tmp_path: Path, text: str) -> None:
    save_state(tmp_path, KeeperState(failing=["worker"]))
    state_path(tmp_path).write_text(text)
    assert load_state(tmp_path) == KeeperState()


def test_what_an_earlier_keeper_told_is_no_health_of_the_next(tmp_path: Path) -> None:
    save_state(tmp_path, KeeperState())
    service = services.keeper(Place(tmp_path, SETUP, {}))
    assert service.is_healthy()
    service.prepare()
    assert not service.is_healthy()


@pytest.mark.parametrize("named", [False, True], ids=["its own server", "its own server by address"])
def test_deploy_refuses_notify_where_no_automation_would_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    place = Place(tmp_path, SETUP, {})
    save_setup(tmp_path, SETUP)
    for name, value in place.client_environment().items():
        monkeypatch.setenv(name, value)  # whatever is set within is taken back
    if not named:
        monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setattr(servers, "check_reachable", lambda *given: None)
    monkeypatch.setattr(servers, "answers", lambda address: True)
    monkeypatch.setattr(deployments, "deploy_all", lambda *given: pytest.fail("it was deployed"))
    are_up(monkeypatch, "Prefect")
    with pytest.raises(UserError, match=r"--notify .* needs .* --profile team"):
        deployments.deploy(tmp_path, "https://chat.example.org/hooks/1", tmp_path)
    (tmp_path / "prefect.yaml").write_text("deployments: []")
    monkeypatch.setattr(deployments, "deploy_all", lambda *given: deployments.Deployed(made=["all"]))
    assert deployments.deploy(tmp_path, None, tmp_path) == ["made      all"]
