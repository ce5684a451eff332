"""What `minimind up` starts: a profile is a list of steps, and what differs between them.

| profile | databases | artifacts of MLflow | who may ask |
|---|---|---|---|
| `local` | SQLite in the store | files, written by the runs themselves | every process of this machine |
| `team` | PostgreSQL | through the server, to disk or S3 | who knows the password |
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from flows import services
from flows.credentials import FOR_CLIENTS, POSTGRES_PASSWORD, Credentials, credentials_path, load_credentials
from flows.databases import Databases, PostgreSql, Sqlite
from flows.postgres import OWNER, Postgres, parse
from flows.prefect_api import PrefectApi
from flows.servers import HOST, Service, prefect_settings, read_as, write_json
from minimind.errors import ServerError, UserError


class Setup(BaseModel):
    """What `minimind up` was asked for; kept in the store, so that each service can be started again. No secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["local", "team"] = "local"
    project: Path  # where prefect.yaml lies
    host: str = HOST
    prefect_port: int = 4200
    mlflow_port: int = 5000
    allowed_hosts: tuple[str, ...] = ()  # names by which others reach this machine
    postgres: str | None = None  # an address without password; None: a cluster of the store's own
    postgres_port: int | None = None  # of that cluster
    artifacts: str | None = None  # s3://bucket/prefix; None: a folder of the store


def setup_path(root: Path) -> Path:
    return root / "servers" / "setup.json"


def load_setup(root: Path) -> Setup | None:
    """What the last `minimind up` of this store was asked for."""
    return read_as(Setup, setup_path(root), "remove it, and name the options of `minimind up` again")


def save_setup(root: Path, setup: Setup | None) -> None:
    if setup is None:
        setup_path(root).unlink(missing_ok=True)
    else:
        write_json(setup_path(root), setup.model_dump(mode="json"))


@dataclass(frozen=True)
class Place:
    """A store, what was asked for, and the passwords: all that describes every service."""

    root: Path
    setup: Setup
    credentials: Credentials = field(repr=False)

    @property
    def profile(self) -> "Profile":
        return PROFILES[self.setup.profile]

    @property
    def prefect(self) -> str:
        return f"http://{_reachable(self.setup.host)}:{self.setup.prefect_port}"

    @property
    def mlflow(self) -> str:
        return f"http://{_reachable(self.setup.host)}:{self.setup.mlflow_port}"

    @property
    def names(self) -> list[str]:
        """By which a request may ask for the servers."""
        own = [] if self.setup.host in ("0.0.0.0", "::") else [self.setup.host]
        return list(dict.fromkeys([HOST, "localhost", "[::1]", *own, *self.setup.allowed_hosts]))

    def is_asked(self, address: str) -> bool:
        """Whether a request to this address comes to the Prefect server of this place."""
        host, _, port = urlsplit(address).netloc.rpartition("@")[2].rpartition(":")
        return host in self.names and port == str(self.setup.prefect_port)

    @property
    def postgres(self) -> Postgres:
        password = self.credentials.get(POSTGRES_PASSWORD, "")
        if self.setup.postgres:
            return parse(self.setup.postgres, password)
        assert self.setup.postgres_port, "`minimind up` chooses one"
        return Postgres(HOST, self.setup.postgres_port, OWNER, password)

    def client_environment(self) -> dict[str, str]:
        """For every process that talks to the two servers."""
        passwords = {name: self.credentials[name] for name in FOR_CLIENTS if name in self.credentials}
        return prefect_settings(self.root, f"{self.prefect}/api") | {"MLFLOW_TRACKING_URI": self.mlflow} | passwords

    def prefect_api(self) -> PrefectApi:
        return PrefectApi.of(f"{self.prefect}/api", self.credentials)

    def services(self) -> dict[str, Service]:
        """Every service of the profile by name, in the order in which they start."""
        steps = (make(self) for make in self.profile.steps)
        return {step.name: step for step in steps if isinstance(step, Service)}


def recorded_place(root: Path) -> Place | None:
    """The place that the last `minimind up` described; None if there was none. Raises ServerError without passwords."""
    if (setup := load_setup(root)) is None:
        return None
    known = load_credentials(root)
    if PROFILES[setup.profile].has_auth and not known:
        raise ServerError(
            f"the passwords of this store's servers are gone; bring {credentials_path(root)} back, as a backup made "
            "--with-credentials has it, or restore a backup into a new store"
        )
    return Place(root, setup, known)


def _reachable(host: str) -> str:
    """Where this machine reaches a server that listens at `host`."""
    return HOST if host == "0.0.0.0" else "[::1]" if host == "::" else f"[{host}]" if ":" in host else host


# --- the profiles -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Profile:
    steps: tuple[Callable[[Place], Service | services.Once], ...]
    has_auth: bool
    databases: Databases
    artifact_options: Callable[[Place], list[str]]  # of MLflow's server


def _files_of_the_store(place: Place) -> list[str]:
    """Artifacts are files of the store for every client, so that models are found with and without this server."""
    return ["--no-serve-artifacts", "--default-artifact-root", str(place.root / "mlflow-artifacts")]


def _through_the_server(place: Place) -> list[str]:
    kept = place.setup.artifacts or str(place.root / "mlflow-artifacts")
    return ["--serve-artifacts", "--artifacts-destination", kept, "--default-artifact-root", "mlflow-artifacts:/"]


SERVERS = (services.prefect, services.mlflow, services.registrations)
WORKERS = (services.worker, services.keeper)  # the keeper last: it looks after those before it

PROFILES = {
    "local": Profile((*SERVERS, *WORKERS), has_auth=False, databases=Sqlite(), artifact_options=_files_of_the_store),
    "team": Profile(
        (services.database_server, *SERVERS, services.automations, *WORKERS),  # SQLite is too slow for automations
        has_auth=True,
        databases=PostgreSql(),
        artifact_options=_through_the_server,
    ),
}


def refuse_to_tell(profile: str) -> None:
    """Raises UserError for a profile whose Prefect tells nobody of failures."""
    if services.automations not in PROFILES[profile].steps:
        raise UserError(
            f"--notify (or {services.NOTIFY}) needs a store that is up with --profile team: Prefect on SQLite answers "
            "automations with `database is locked`"
        )
