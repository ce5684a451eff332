"""The team profile with real servers: PostgreSQL, passwords, a run, a death, a backup, a store restored from it."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from domain import MINIMIND, PROJECT, Domain, environment
from test_schedule import processes_of

from flows.credentials import load_credentials
from flows.prefect_api import PrefectApi
from flows.servers import free_port, left_over
from flows.status import look

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

WITHIN_SECONDS = 600.0


@dataclass(frozen=True)
class Team:
    """A project folder, and the ports at which its servers listen."""

    project: Path
    prefect_port: int
    mlflow_port: int

    def say(self, *words: str, store: str = "store", expect: int = 0) -> str:
        done = subprocess.run(
            [*MINIMIND, *words, "--store", str(self.project / store)], cwd=self.project, capture_output=True, text=True,
            env=environment(PREFECT_WORKER_QUERY_SECONDS="1"), timeout=900,
        )  # fmt: skip
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def up(self, *words: str, store: str = "store") -> str:
        ports = ["--prefect-port", str(self.prefect_port), "--mlflow-port", str(self.mlflow_port)]
        return self.say("up", *ports, *words, store=store)

    def passwords(self, store: str = "store") -> dict[str, str]:
        return load_credentials(self.project / store)

    def prefect(self, store: str = "store") -> PrefectApi:
        return PrefectApi.of(f"http://127.0.0.1:{self.prefect_port}/api", self.passwords(store))

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + WITHIN_SECONDS
        while not look(self.project / "store").is_healthy:
            assert time.monotonic() < deadline
            time.sleep(0.5)

    def run(self, store: str = "store") -> dict[str, Any]:
        """A run of the deployment that was asked for, once it has ended."""
        api = self.prefect(store)
        (deployment,) = api.deployments()
        run = api.post(f"/deployments/{deployment['id']}/create_flow_run", {})
        deadline = time.monotonic() + WITHIN_SECONDS
        while time.monotonic() < deadline:
            found = api.post("/flow_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})[0]
            if found["state_type"] in ("COMPLETED", "FAILED", "CRASHED"):
                return dict(found)
            time.sleep(0.5)
        raise AssertionError(f"the run is still {found['state_name']}")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Not pytest's own, which nobody but its owner may enter: PostgreSQL does not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="minimind-team-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def team(folder: Path, make_domain: Callable[..., Domain]) -> Iterator[Team]:
    domain = make_domain("team")
    for name in ("flows", "tasks", "minimind"):
        (folder / name).symlink_to(PROJECT / name)
    deployment = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"][0]
    deployment |= {"name": "team", "schedules": [{"slug": "yearly", "cron": "0 3 1 1 *", "timezone": "Europe/Berlin"}]}
    quick = ["training.budget=5k tokens", "training.evaluations=1"]
    deployment["parameters"] = {"request": {"config": str(domain.config), "overrides": quick}}
    (folder / "prefect.yaml").write_text(yaml.safe_dump({"name": "test", "deployments": [deployment]}))
    team = Team(folder, free_port(), free_port())
    try:
        said = team.up("--profile", "team")
        assert "passwords are in" in said
        assert not [value for value in team.passwords().values() if len(value) > 10 and value in said]
        yield team
    finally:
        for store in folder.glob("*store*"):
            subprocess.run([*MINIMIND, "down", "--store", str(store)], check=True, env=environment())


@pytest.fixture(scope="module")
def completed(team: Team) -> dict[str, Any]:
    run = team.run()
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    return run


def test_unauthenticated_requests_get_401(team: Team) -> None:
    prefect, mlflow = f"http://127.0.0.1:{team.prefect_port}", f"http://127.0.0.1:{team.mlflow_port}"
    for ask in (
        lambda auth: httpx.post(f"{prefect}/api/flow_runs/filter", json={}, auth=auth),
        lambda auth: httpx.post(f"{prefect}/api/deployments/filter", json={}, auth=auth),
        lambda auth: httpx.get(f"{mlflow}/", auth=auth),
        lambda auth: httpx.get(f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1", auth=auth),
        lambda auth: httpx.get(f"{mlflow}/api/2.0/mlflow-artifacts/artifacts?path=", auth=auth),
    ):
        assert ask(None).status_code == 401
        assert ask(("minimind", "wrong")).status_code == 401
    password = team.passwords()["MLFLOW_TRACKING_PASSWORD"]
    assert httpx.get(f"{mlflow}/", auth=("minimind", password)).status_code == 200
    assert team.prefect().deployments()


def test_foreign_host_gets_403(team: Team) -> None:
    user, password = team.prefect().auth_string.split(":")
    foreign = {"Host": "evil.example"}
    for address in (
        f"http://127.0.0.1:{team.prefect_port}/api/flow_runs/filter",
        f"http://127.0.0.1:{team.prefect_port}/",
        f"http://127.0.0.1:{team.mlflow_port}/",
    ):
        assert httpx.get(address, headers=foreign, auth=(user, password)).status_code == 403
    with closing(httpx.Client(headers={"Host": "192.168.evil.example"})) as client:  # MLflow's own default lets it in
        assert client.get(f"http://127.0.0.1:{team.mlflow_port}/").status_code == 403


def test_nothing_listens_but_on_loopback_and_no_password_is_on_a_command_line(team: Team) -> None:
    import psutil

    secrets = {value.partition(":")[2] or value for value in team.passwords().values()} - {"minimind"}
    ours = [found for started in left_over(team.project / "store") if (found := started.process())]
    assert len(ours) > 4
    listening = {
        connection.laddr.ip
        for process in ours
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert not [word for process in ours for word in process.cmdline() for secret in secrets if secret in word]


def test_status_names_services_runs_and_slots(team: Team, completed: dict[str, Any]) -> None:
    status = json.loads(team.say("status", "--json"))
    assert [row["name"] for row in status["services"]] == ["PostgreSQL", "Prefect", "MLflow", "worker", "keeper"]
    assert {row["state"] for row in status["services"]} == {"up"}
    assert status["healthy"]
    assert {"name": "gpu0", "used": 0, "slots": 1} in status["slots"]
    (upcoming,) = status["next"]
    assert upcoming["domain"] == "team"
    assert "-01-01T0" in upcoming["at"]
    (last,) = status["last"]
    assert (last["domain"], last["state"]) == ("team", "Completed")
    said = team.say("status")
    assert "0 of 1 in use" in said
    assert "Completed" in said


def test_service_that_died_is_started_again(team: Team, completed: dict[str, Any]) -> None:
    from flows.servers import running_servers

    process = running_servers(team.project / "store")["MLflow"].process()
    assert process
    for member in [*process.children(recursive=True), process]:
        member.kill()
    process.wait()
    team.wait_until_healthy()
    assert team.say("generate", "models:/team@champion", "bade", "--max-new-tokens", "5").startswith("bade")


def test_backup_of_running_servers_is_a_team_of_its_own(team: Team, completed: dict[str, Any]) -> None:
    path = team.project / "a.tar.zst"
    team.say("backup", str(path))
    said = team.say("down")
    assert "stopped keeper, worker, MLflow, Prefect, PostgreSQL" in said
    assert not processes_of(team.project)
    assert "down; `minimind up` starts it" in team.say("generate", "models:/team@champion", "bade", expect=2)
    team.say("restore", str(path), store="second-store")
    assert team.passwords("second-store") != team.passwords()
    (team.project / "store").rename(team.project / "away")
    team.up(store="second-store")
    asked = ("generate", "models:/team@champion", "bade", "--max-new-tokens", "5")
    assert team.say(*asked, store="second-store").startswith("bade")
    again = team.run("second-store")
    assert again["state_type"] == "COMPLETED", again["state"]["message"]
    api = team.prefect("second-store")
    tasks = api.post("/task_runs/filter", {"flow_runs": {"id": {"any_": [again["id"]]}}})
    stages = {task["name"]: task["state_name"] for task in tasks}
    assert {name for name, state in stages.items() if state != "Reused"} == {"report", "tracking server"}, stages
    assert len(api.runs(["COMPLETED"], "END_TIME_DESC")) == 2  # that of the first store, too
    team.say("down", store="second-store")
    assert not processes_of(team.project)


def test_models_of_a_bucket_are_reached_through_the_server(
    folder: Path, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port())
    server.start()
    endpoint = f"http://127.0.0.1:{server._server.port}"  # type: ignore[union-attr]
    credentials = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**credentials, "MLFLOW_S3_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    import boto3

    bucket = boto3.client("s3", endpoint_url=endpoint)
    bucket.create_bucket(Bucket="models")
    third = Team(folder, free_port(), free_port())
    third.up("--profile", "team", "--artifacts", "s3://models/team", store="third-store")
    try:
        run = third.run("third-store")
        assert run["state_type"] == "COMPLETED", run["state"]["message"]
        keys = [row["Key"] for row in bucket.list_objects_v2(Bucket="models")["Contents"]]
        assert any(key.startswith("team/") and key.endswith("model.safetensors") for key in keys)
        assert not (folder / "third-store" / "mlflow-artifacts").exists()
        asked = ("generate", "models:/team@champion", "bade", "--max-new-tokens", "5")
        assert third.say(*asked, store="third-store").startswith("bade")
        assert os.environ["AWS_SECRET_ACCESS_KEY"]
    finally:
        third.say("down", store="third-store")
        server.stop()
