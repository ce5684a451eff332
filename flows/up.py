"""`minimind up` and `minimind down`: a profile's services started one after the other, and exactly those stopped."""

import ipaddress
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import httpx

from flows import postgres, servers
from flows.automations import check_address
from flows.credentials import credentials_path, ensure_credentials
from flows.prefect_yaml import read_deployments
from flows.profiles import PROFILES, Place, Setup, load_setup, recorded_place, refuse_to_tell, save_setup
from flows.service_settings import check_settings, take_settings
from flows.services import KEEPER, NOTIFY, RUNS_GRACE_SECONDS, WORKER, Once
from minimind.errors import ServerError, UserError

POSTGRES_URL = "MINIMIND_POSTGRES_URL"


def up(
    root: Path,
    wanted: Setup,
    say: Callable[[str], None],
    notify: str | None = None,
    environ: MutableMapping[str, str] = os.environ,
) -> None:
    """Starts what the profile lists; returns once each is healthy, and leaves nothing running where one is not.

    `notify` is who is told of failures. It is handed on in the environment, as it may hold a password, with what
    `servers/settings.env` of the store says.
    """
    check_settings(root)
    take_settings(root, environ)
    if notify:
        environ[NOTIFY] = notify
    if told := environ.get(NOTIFY):
        refuse_to_tell(wanted.profile)
        check_address(told)
    if servers.running_servers(root) and is_up_again(root, say):
        return
    setup, password = with_postgres(wanted, environ)
    check(root, setup)
    with servers.held_now(servers.users_lock(root)), interruptible():
        place = Place(root, setup, ensure_credentials(root, password) if PROFILES[setup.profile].has_auth else {})
        servers.forget_all(root)
        earlier = load_setup(root)
        save_setup(root, setup)
        try:
            for make in place.profile.steps:
                take(place, make(place), say)
        except BaseException:
            down(root)
            save_setup(root, earlier)  # what has never been up binds the store to nothing
            raise
    if place.profile.has_auth:
        say(f"passwords are in {credentials_path(root)}")


def is_up_again(root: Path, say: Callable[[str], None]) -> bool:
    """Whether all was up but the keeper, and now is; else what an `up` that was killed midway had started is stopped.

    Raises ServerError where all is up, and where another `up` is at work.
    """
    running = servers.running_servers(root)
    if KEEPER in running:
        raise ServerError(f"already up: {', '.join(running)}; `minimind down` stops them")
    with servers.held_now(servers.users_lock(root)):
        place, recorded = recorded_place(root), {server.name for server in servers.recorded_servers(root)}
        if place and place.services().keys() - recorded <= {KEEPER}:
            start_again(root, KEEPER)
            say("the keeper had died and is up again; it starts what else has died, all with the options of before")
            return True
        down(root)
    return False


@contextmanager
def interruptible() -> Iterator[None]:
    """TERM, and HUP of a terminal that closes, end the block as Ctrl-C does; a second one leaves it to tidy up."""
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def take(place: Place, step: servers.Service | Once, say: Callable[[str], None]) -> None:
    if isinstance(step, Once):
        for line in step.do():
            say(line)
    else:
        end_left_over(place.root, step.name)
        started = servers.start(place.root, step)
        say(f"{started.name:<10} {started.url}")


def start_again(root: Path, name: str) -> servers.Started:
    """Starts a service that has died, as `minimind up` had started it; does not wait until it is healthy."""
    place = recorded_place(root)
    if place is None:
        raise ServerError(f"nothing was ever up in {root}")
    end_left_over(root, name)
    take_settings(root)
    return servers.launch(root, place.services()[name])[0]


def end_left_over(root: Path, name: str) -> None:
    """What a server has left behind holds its port or its files; the runs of a worker go on without it."""
    if name != WORKER:
        servers.stop(servers.left_over(root, name))


def down(root: Path) -> list[str]:
    """Stops what `up` started and nothing else; what that was, in words.

    The keeper first, which would start the others again; these in turn, last started first; at last what has outlived
    its service, as runs do whose worker was killed: they have the time of a worker's runs.
    """
    stopped = []
    if keeper := servers.running_servers(root).get(KEEPER):
        servers.stop_alone(keeper)  # what it had started again is its child
        stopped.append(KEEPER)
    alive = list(reversed(servers.running_servers(root).values()))
    servers.stop(alive)
    stopped += [server.name for server in alive]
    if left := servers.left_over(root):
        servers.stop([replace(process, grace_seconds=RUNS_GRACE_SECONDS) for process in left])
        stopped.append("what had outlived its service")
    servers.forget_all(root)
    return stopped


def runs_that_end(root: Path) -> list[str]:
    """The runs that `down` ends, in words; none where Prefect is down or does not answer."""
    try:
        place = recorded_place(root)
    except ServerError:  # whatever became of its passwords, it can be stopped
        return []
    if place is None or "Prefect" not in servers.running_servers(root):
        return []
    try:
        api = place.prefect_api()
        runs = api.runs_under_way()
        stages = api.stages_of([run["id"] for run in runs])
    except httpx.HTTPError:
        return []
    return [f"{run['name']} ({stages.get(run['id'], run['state_name'].lower())})" for run in runs]


# --- what is asked for ------------------------------------------------------------------------------------------------


def refuse_password(notify: str | None) -> None:
    """Raises UserError for an address on the command line that holds one."""
    if notify and re.search(r"://[^/\s@]*:[^/\s@]+@", notify):
        raise UserError(f"--notify holds a password, which every user of this machine could read; put it in {NOTIFY}")


def with_postgres(setup: Setup, environ: Mapping[str, str]) -> tuple[Setup, str | None]:
    """The setup with the address of its PostgreSQL, and that server's password; None where it is not given."""
    given = setup.postgres or environ.get(POSTGRES_URL, "")
    if setup.profile == "local":
        if setup.postgres:
            raise UserError("--postgres belongs to the team profile; add --profile team, or leave it out")
        return setup, None
    if setup.postgres and urlsplit(setup.postgres).password:
        raise UserError(
            f"--postgres holds a password, which every user of this machine could read; put it in {POSTGRES_URL}"
        )
    if not given:
        port = setup.postgres_port or servers.free_port()
        return setup.model_copy(update={"postgres_port": port}), None
    server = postgres.parse(given, None)
    password = server.password or postgres.password_in(environ.get(POSTGRES_URL)) or environ.get("PGPASSWORD")
    return setup.model_copy(update={"postgres": server.address, "postgres_port": None}), password


def check(root: Path, setup: Setup) -> None:
    """Raises UserError for a setup that cannot be, or that would leave the store's history behind."""
    _check_doors(setup)
    if setup.artifacts and not setup.artifacts.startswith("s3://"):
        raise UserError(
            f"--artifacts is {setup.artifacts!r}; expected s3://BUCKET/PREFIX, or leave it out to use the store"
        )
    if setup.artifacts and setup.profile == "local":
        raise UserError("--artifacts belongs to the team profile, whose MLflow passes them on; add --profile team")
    _check_history(root, setup)
    read_deployments(setup.project)
    if setup.profile == "team" and not setup.postgres:
        postgres.programs(postgres.major_of(root / "postgres" / "data"))
    recorded_place(root)  # what was made with passwords is not opened by others


def _check_doors(setup: Setup) -> None:
    if setup.prefect_port == setup.mlflow_port:
        raise ServerError(f"both servers were given port {setup.prefect_port}; give them different ones")
    if not is_loopback(setup.host) and not PROFILES[setup.profile].has_auth:
        raise UserError(
            f"--host {setup.host} would let everyone who reaches this machine start runs: the profile {setup.profile} "
            "asks for no password; use --profile team, or a reverse proxy that does"
        )
    for name in setup.allowed_hosts:
        if not re.fullmatch(r"[\w.-]+|\[[0-9a-fA-F:.]+\]", name):
            raise UserError(f"--allow-host {name!r} is no name of a machine; write it without scheme, port and path")
    for port in (setup.prefect_port, setup.mlflow_port, setup.postgres_port):
        if port:
            servers.refuse_taken_port(servers.HOST if port == setup.postgres_port else setup.host, port)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_history(root: Path, setup: Setup) -> None:
    """Another place for databases or artifacts would begin empty, while the store says that all is registered."""
    earlier = load_setup(root)
    if earlier is None and (root / "mlflow.db").exists():
        earlier = Setup(project=setup.project)  # runs without `minimind up` keep theirs as the local profile does
    if earlier is None:
        return
    for option, before, now in (
        ("--profile", earlier.profile, setup.profile),
        ("--postgres", earlier.postgres, setup.postgres),
        ("--artifacts", earlier.artifacts, setup.artifacts),
    ):
        if before != now:
            raise UserError(
                f"what this store has in Prefect and MLflow was made with {option} {before or 'left out'}, and would "
                f"not be seen with {now or 'it left out'}; keep it as it was, or choose another --store"
            )
