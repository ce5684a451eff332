"""The steps of a profile: each a service to keep up, described whole, or something to do once."""

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows import credentials, databases, postgres
from flows.keeper_state import is_looking, state_path
from flows.prefect_api import GPU_SLOT, WORK_POOL
from flows.prefect_server import server_command
from flows.servers import PRIVATE_SETTINGS, Service, answers, prefect_settings

if TYPE_CHECKING:
    from flows.profiles import Place

WORKER, KEEPER = "worker", "keeper"
WORKER_NAME = "minimind"  # as Prefect knows it
RUNS_GRACE_SECONDS = 60.0  # a training writes its checkpoint within 30 s or is ended, and its run waits for 35
NOTIFY = "MINIMIND_NOTIFY"  # an address may hold a password: it is kept by Prefect alone
# A minute: runs outlast a server that is being started again. It answers 500 where PostgreSQL refuses connections.
OUTLASTING = {"PREFECT_CLIENT_MAX_RETRIES": "5", "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500"}


@dataclass(frozen=True)
class Once:
    """Something to do at `minimind up`, and not when a service is started again."""

    do: Callable[[], Iterable[str]]  # what to say then, line by line


def database_server(place: "Place") -> Service | Once:
    if place.setup.postgres:
        return Once(lambda: [f"PostgreSQL at {place.postgres.address}"])
    return postgres.cluster_service(place.root, place.postgres)


def prefect(place: "Place") -> Service:
    kept = place.profile.databases
    return Service(
        name="Prefect",
        command=server_command(place.setup.host, place.setup.prefect_port, place.names),
        address=place.prefect,
        is_healthy=lambda: answers(f"{place.prefect}/api/health"),
        environment=prefect_settings(place.root) | _prefect_doors(place) | kept.prefect_environment(place),
        prepare=lambda: kept.prepare(place, [databases.PREFECT]),
    )


def _prefect_doors(place: "Place") -> dict[str, str]:
    addresses = [f"http://{name}:{place.setup.prefect_port}" for name in place.names]
    addresses += [f"https://{name}" for name in place.setup.allowed_hosts]  # a proxy that speaks TLS
    shown = addresses[-1] if place.setup.allowed_hosts else place.prefect
    settings = {
        "PREFECT_UI_URL": shown,  # in messages
        "PREFECT_UI_API_URL": f"{shown}/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(addresses),
    }
    if place.profile.has_auth:
        settings["PREFECT_SERVER_API_AUTH_STRING"] = place.credentials[credentials.PREFECT]
    return settings


def mlflow(place: "Place") -> Service:
    kept = place.profile.databases
    options, environment = _mlflow_doors(place)
    command = [sys.executable, "-m", "mlflow", "server", "--host", place.setup.host]
    command += ["--port", str(place.setup.mlflow_port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]  # a line for each request would fill a disk in months
    database = {"MLFLOW_BACKEND_STORE_URI": kept.mlflow_uri(place)}  # with a password: in no command line
    return Service(
        name="MLflow",
        command=[*command, *options, *place.profile.artifact_options(place)],
        address=place.mlflow,
        is_healthy=lambda: answers(f"{place.mlflow}/health"),
        environment=PRIVATE_SETTINGS | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | database | environment,
        prepare=lambda: _prepare_mlflow(place),
    )


def _mlflow_doors(place: "Place") -> tuple[list[str], dict[str, str]]:
    """Options and environment: under which names, to whom."""
    port, allowed = place.setup.mlflow_port, place.setup.allowed_hosts
    options = ["--allowed-hosts", ",".join(f"{name}{end}" for name in place.names for end in ("", f":{port}"))]
    origins = [f"http://{name}:{port}" for name in allowed] + [f"https://{name}" for name in allowed]
    options += ["--cors-allowed-origins", ",".join(origins)] if origins else []
    if not place.profile.has_auth:
        return options, {}
    return [*options, "--app-name", "basic-auth"], {
        "MLFLOW_AUTH_CONFIG_PATH": str(_accounts_path(place.root)),
        "MLFLOW_AUTH_ADMIN_USERNAME": place.credentials[credentials.MLFLOW_USER],
        "MLFLOW_AUTH_ADMIN_PASSWORD": place.credentials[credentials.MLFLOW_PASSWORD],
        credentials.FLASK_KEY: place.credentials[credentials.FLASK_KEY],
    }


def _prepare_mlflow(place: "Place") -> None:
    purposes = [databases.MLFLOW, *([databases.ACCOUNTS] if place.profile.has_auth else [])]
    place.profile.databases.prepare(place, purposes)
    if place.profile.has_auth:
        database = place.postgres.url("psycopg", databases.ACCOUNTS).replace("%", "%%")  # as configparser reads it
        lines = ["[mlflow]", "default_permission = READ", f"database_uri = {database}"]
        lines.append("auth_cache_ttl_seconds = 60")  # a password is hashed once a minute, not for each request
        credentials.write_private(_accounts_path(place.root), "\n".join(lines) + "\n")


def _accounts_path(root: Path) -> Path:
    return root / "servers" / "mlflow-accounts.ini"


def registrations(place: "Place") -> Once:
    """The work pool, the deployments of prefect.yaml and the slot that trainings on the first GPU share."""

    def register() -> Iterable[str]:
        from flows.deployments import deploy_all
        from flows.prefect_yaml import problems_of_runs

        deployed = deploy_all(place.setup.project, place.client_environment())
        place.prefect_api().ensure_limit(GPU_SLOT, slots=1)
        # one domain's mistake keeps no other from running; who deploys by hand is refused
        failing = [f"will fail: {problem}" for problem in problems_of_runs(place.setup.project)]
        return ["deployed what prefect.yaml lists", *(f"  {line}" for line in [*deployed.lines(), *failing])]

    return Once(register)


def automations(place: "Place") -> Once:
    """Vanished runs end, and whoever MINIMIND_NOTIFY names is told of what goes wrong."""

    def register_all() -> Iterable[str]:
        from flows.automations import register

        os.environ.update(place.client_environment())
        register(os.environ.get(NOTIFY))
        return ["registered the automations"]

    return Once(register_all)


def worker(place: "Place") -> Service:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process"]
    return Service(
        name=WORKER,
        command=[*command, "--name", WORKER_NAME],
        address=f"polls the work pool `{WORK_POOL}`",
        is_healthy=lambda: place.prefect_api().has_worker(WORKER_NAME),
        prepare=lambda: place.prefect_api().forget_worker(WORKER_NAME),  # one of before counts as alive for 90 s
        environment=place.client_environment() | {"MINIMIND_STORE": str(place.root)} | OUTLASTING,
        folder=place.setup.project,
        grace_seconds=RUNS_GRACE_SECONDS,
    )


def keeper(place: "Place") -> Service:
    return Service(
        name=KEEPER,
        command=[sys.executable, "-m", "flows.keeper", "--store", str(place.root)],
        address="starts again what died",
        is_healthy=lambda: is_looking(place.root, KEEPER),
        prepare=lambda: state_path(place.root).unlink(missing_ok=True),  # else an earlier one's word counts as its own
        folder=place.setup.project,
    )
