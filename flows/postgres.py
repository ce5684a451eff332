"""PostgreSQL for the team profile: the one at a given address, or a cluster of the store's own on 127.0.0.1."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from flows.servers import (
    HOST,
    Service,
    free_port,
    held_now,
    left_over,
    log_path,
    marks,
    spawn,
    stop,
    user_group,
    users_lock,
    wait_until_healthy,
)
from minimind.errors import ServerError, UserError
from minimind.masking import masked

OWNER = "minimind"
PROGRAM_FOLDERS = Path("/usr/lib/postgresql")
UNPRIVILEGED = ("postgres", "nobody")  # whom the server runs as where we are root, which it refuses to be
INSTALL = "install it (apt-get install postgresql), or name one that runs with --postgres postgresql://USER@HOST/NAME"


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server; the databases of one store there begin with `name`."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    name: str = OWNER
    sslmode: str = ""

    @property
    def address(self) -> str:
        """Without the password."""
        tls = f"?sslmode={self.sslmode}" if self.sslmode else ""
        return f"postgresql://{quote(self.user)}@{self.host}:{self.port}/{self.name}{tls}"

    def database(self, purpose: str) -> str:
        return f"{self.name}_{purpose}"

    def url(self, driver: str, purpose: str) -> str:
        """For SQLAlchemy, by psycopg or asyncpg, with the password."""
        option = {"psycopg": "sslmode", "asyncpg": "ssl"}[driver]
        tls = f"?{option}={self.sslmode}" if self.sslmode else ""
        user = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql+{driver}://{user}@{self.host}:{self.port}/{self.database(purpose)}{tls}"

    def connect(self, database: str) -> Any:
        import psycopg

        more = {"sslmode": self.sslmode} if self.sslmode else {}
        return psycopg.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, dbname=database,
            connect_timeout=5, autocommit=True, **more,
        )  # fmt: skip

    def answers(self) -> bool:
        import psycopg

        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def environment(self) -> dict[str, str]:
        """For PostgreSQL's own programs."""
        settings = {"PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": self.user, "PGPASSWORD": self.password}
        return settings | ({"PGSSLMODE": self.sslmode} if self.sslmode else {})


def parse(address: str, password: str | None) -> Postgres:
    """A server by its URL; raises UserError for what is none, or for a second option beside sslmode."""
    expected = "expected postgresql://USER@HOST:PORT/NAME, NAME being what the store's databases begin with"
    try:
        parts = urlsplit(address)
        port, options = parts.port or 5432, parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise UserError(f"{masked(address)} is no address of a PostgreSQL server; {expected}") from None
    name = parts.path.strip("/") or OWNER
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.username or "/" in name:
        raise UserError(f"{masked(address)} is no address of a PostgreSQL server; {expected}")
    if unknown := options.keys() - {"sslmode"}:
        raise UserError(f"{masked(address)} has the option {', '.join(sorted(unknown))}; only sslmode can be given")
    known = password if password is not None else unquote(parts.password or "")
    return Postgres(
        parts.hostname, port, unquote(parts.username), known, name, options.get("sslmode", [""])[0]
    )  # fmt: skip


def password_in(address: str | None) -> str | None:
    return (parse(address, None).password or None) if address else None


def has_database(postgres: Postgres, purpose: str) -> bool:
    import psycopg

    try:
        postgres.connect(postgres.database(purpose)).close()
    except psycopg.OperationalError as error:
        if f'"{postgres.database(purpose)}" does not exist' in str(error):
            return False
        raise _as_said(postgres, purpose, error) from None
    return True


def create_missing(postgres: Postgres, purpose: str) -> None:
    """Makes the store's database for a purpose where there is none. Raises ServerError if that is not permitted."""
    import psycopg

    if has_database(postgres, purpose):
        return
    try:
        with postgres.connect("postgres") as connection:
            connection.execute(f'create database "{postgres.database(purpose)}"')
    except psycopg.Error as error:
        raise _as_said(postgres, purpose, error) from None


def refuse_filled(postgres: Postgres, purpose: str) -> None:
    """Raises ServerError if a database holds tables already."""
    with postgres.connect(postgres.database(purpose)) as connection:
        tables = connection.execute("select count(*) from information_schema.tables where table_schema = 'public'")
        if tables.fetchone()[0]:
            raise ServerError(
                f"the database {postgres.database(purpose)} at {postgres.address} holds something already; name "
                "another with --postgres postgresql://USER@HOST/NAME, or leave it out for a cluster of the store's own"
            )


def _as_said(postgres: Postgres, purpose: str, error: Exception) -> ServerError:
    database, why = postgres.database(purpose), " ".join(masked(str(error)).split())
    return ServerError(
        f"the database {database} at {postgres.address} cannot be used: {why}; mend that, or have it made for you "
        f"(create database {database} owner {postgres.user})"
    )


# --- a cluster of the store's own -------------------------------------------------------------------------------------


def cluster_service(root: Path, postgres: Postgres) -> Service:
    """PostgreSQL in `<root>/postgres`, made at the first start."""
    data = root / "postgres" / "data"
    # TCP on the loopback interface alone; no socket file
    listening = ["-c", f"listen_addresses={postgres.host}", "-p", str(postgres.port), "-c", "unix_socket_directories="]
    return Service(
        name="PostgreSQL",
        command=[str(programs(major_of(data)) / "postgres"), "-D", str(data), *listening],
        address=f"{postgres.host}:{postgres.port}",
        is_healthy=postgres.answers,
        prepare=lambda: ensure_cluster(data, postgres),
        user=unprivileged_user(),
        stops_children=False,  # at SIGINT it ends its sessions and its children: what `pg_ctl stop -m fast` sends
        grace_seconds=30,
    )


def ensure_cluster(data: Path, postgres: Postgres) -> None:
    """Makes the cluster unless it is there: passwords by SCRAM, text in UTF-8, whole or not at all."""
    if (data / "PG_VERSION").exists():
        return
    building = data.with_name(".building-data")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True, mode=0o700)
    user = unprivileged_user()
    if user:
        shutil.chown(building, user, user_group(user))
        _refuse_unreachable(building, user)
    with tempfile.NamedTemporaryFile("w", dir=building.parent, prefix=".password-") as password:  # mode 0600
        password.write(postgres.password)
        password.flush()
        if user:
            shutil.chown(password.name, user)
        command = [str(programs() / "initdb"), "-D", str(building), "--username", postgres.user]
        command += ["--auth=scram-sha-256", f"--pwfile={password.name}", "--encoding=UTF8", "--locale=C.UTF-8"]
        run_as(user, command)
    building.rename(data)


def _refuse_unreachable(folder: Path, user: str) -> None:
    if subprocess.run(["test", "-w", str(folder)], user=user, group=user_group(user), extra_groups=[]).returncode:
        raise ServerError(
            f"PostgreSQL does not run as root, and the user {user} may not enter {folder.parent}; open the folders "
            "above it (chmod o+x), choose another --store, run this as another user, or name a server with --postgres"
        )


def run_as(user: str | None, command: list[str], environment: dict[str, str] | None = None) -> None:
    """Runs one of PostgreSQL's programs; raises ServerError with the end of what it said."""
    other: dict[str, Any] = {"user": user, "group": user_group(user), "extra_groups": []} if user else {}
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | (environment or {}), cwd="/", **other
    )
    if done.returncode:
        raise ServerError(f"{Path(command[0]).name} failed: {masked((done.stdout + done.stderr).strip())[-1500:]}")


def unprivileged_user() -> str | None:
    """Whom PostgreSQL has to run as; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in UNPRIVILEGED if name in known), None)
    if user is None:
        raise ServerError(f"PostgreSQL does not run as root, and there is no user {' or '.join(UNPRIVILEGED)} here")
    return user


@contextmanager
def running_cluster(root: Path, password: str) -> Iterator[Postgres]:
    """The store's own cluster, up for as long as the block runs, while nothing else is up or starts."""
    postgres = Postgres(HOST, free_port(), OWNER, password)
    service = cluster_service(root, postgres)
    log = log_path(root, service.name)
    with held_now(users_lock(root)):
        stop(left_over(root, service.name))
        service.prepare()
        process = spawn(service.command, log, marks(root, service.name), user=service.user)
        try:
            wait_until_healthy(service.name, service.is_healthy, process, log)
            yield postgres
        finally:
            process.send_signal(2)
            process.wait()


# --- programs, dumps --------------------------------------------------------------------------------------------------


def major_of(data: Path) -> str | None:
    """The version that made a cluster."""
    try:
        return (data / "PG_VERSION").read_text().strip()
    except (FileNotFoundError, PermissionError):
        return None


@cache
def programs(major: str | None = None) -> Path:
    """The folder of PostgreSQL's programs, of one version where it is given; raises ServerError where there is none."""
    on_path = shutil.which("initdb")
    found = sorted(PROGRAM_FOLDERS.glob("*/bin/initdb"), key=lambda path: -int(path.parts[-3].partition(".")[0]))
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += [path.parent for path in found]
    if not candidates:
        raise ServerError(f"the team profile needs PostgreSQL, and its programs are not on this machine; {INSTALL}")
    fitting = [folder for folder in candidates if major in (None, version_of(folder))]
    if not fitting:
        raise ServerError(
            f"the store's cluster was made by PostgreSQL {major}, and this machine has {version_of(candidates[0])}; "
            f"install postgresql-{major}, or move the cluster with pg_upgrade"
        )
    return fitting[0]


@cache
def version_of(folder: Path) -> str:
    said = subprocess.run([str(folder / "initdb"), "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[2].partition(".")[0]


def dump(postgres: Postgres, purpose: str, path: Path) -> None:
    """One consistent picture of a database while it is in use."""
    command = [str(programs() / "pg_dump"), "--format=custom", "--compress=0", "--no-owner", "--no-privileges"]
    run_as(None, [*command, f"--file={path}", postgres.database(purpose)], postgres.environment())


@contextmanager
def loaded(postgres: Postgres, purpose: str, path: Path, then: str) -> Iterator[None]:
    """An empty database filled from a dump, with the statement `then` behind it: in one transaction.

    It is committed where the block ends; where that fails, or is killed, the database is as empty as before.
    """
    session = [str(programs() / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    restore = [str(programs() / "pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(path)]
    environment = os.environ | postgres.environment() | {"PGDATABASE": postgres.database(purpose)}
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            session, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=environment, cwd="/", bufsize=0
        ) as psql,
    ):
        do(psql, said, "\\o /dev/null\nbegin;")  # what queries yield is not asked for
        if subprocess.run(restore, stdout=psql.stdin, stderr=said, cwd="/").returncode:
            raise failed(psql, said)
        do(psql, said, then)
        yield
        do(psql, said, "commit;")


def do(psql: "subprocess.Popen[bytes]", said: IO[bytes], script: str) -> None:
    """Returns once the session has done it; raises ServerError with the end of what was said instead."""
    assert psql.stdin
    assert psql.stdout
    with suppress(BrokenPipeError):  # it has ended, and said why
        psql.stdin.write(f"{script}\n\\echo done\n".encode())
    if psql.stdout.readline() != b"done\n":
        raise failed(psql, said)


def failed(psql: "subprocess.Popen[bytes]", said: IO[bytes]) -> ServerError:
    assert psql.stdin
    psql.stdin.close()
    psql.wait()
    said.seek(0)
    return ServerError(f"the dump could not be loaded: {masked(said.read().decode(errors='replace').strip())[-1500:]}")
