"""`minimind up`: a deployment's schedule really runs, and `minimind down` stops exactly what was started."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from domain import MINIMIND, PROJECT, Domain, environment
from typer.testing import CliRunner

from flows.cli import app
from flows.servers import free_port

WITHIN_SECONDS = 150.0


@pytest.fixture
def project(tmp_path: Path, make_domain: Callable[..., Domain]) -> Path:
    """A project folder with the real flows and a deployment that is due every ten seconds."""
    domain = make_domain("scheduled")
    for name in ("flows", "tasks", "minimind"):
        (tmp_path / name).symlink_to(PROJECT / name)
    tree = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    deployment = tree["deployments"][0]
    deployment |= {"name": "scheduled", "schedules": [{"slug": "often", "interval": 10}]}
    quick = ["training.budget=5k tokens", "training.evaluations=1"]
    deployment["parameters"] = {"request": {"config": str(domain.config), "overrides": quick}}
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump({"name": "test", "deployments": [deployment]}))
    return tmp_path


def command(project: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    words = (*MINIMIND, *words, "--store", str(project / "store"))
    impatient = environment(PREFECT_WORKER_QUERY_SECONDS="1")
    return subprocess.run(words, cwd=project, env=impatient, capture_output=True, text=True, timeout=240)


@pytest.mark.slow  # tests/system has its like among its quick ones
def test_scheduled_deployment_runs_and_down_stops_exactly_what_up_started(project: Path) -> None:
    prefect, mlflow = free_port(), free_port()
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        up = command(project, "up", "--prefect-port", str(prefect), "--mlflow-port", str(mlflow))
        assert up.returncode == 0, up.stderr
        assert f"http://127.0.0.1:{prefect}" in up.stdout
        assert f"http://127.0.0.1:{mlflow}" in up.stdout
        assert "already up" in command(project, "up").stderr
        run = wait_for_scheduled_run(f"http://127.0.0.1:{prefect}/api")
        assert run["auto_scheduled"]
        assert list((project / "store" / "registry").glob("*/manifest.json"))
        assert "minimind.store" in {row["name"] for row in logs_of(f"http://127.0.0.1:{prefect}/api", run)}
        refused = request_run(f"http://127.0.0.1:{prefect}/api", {"request": {"config": "x", "untill": "corpus"}})
        assert refused.status_code in (409, 422), refused.text
    finally:
        down = command(project, "down")
    assert "stopped keeper, worker, MLflow, Prefect" in down.stdout, down.stdout + down.stderr
    assert bystander.poll() is None
    bystander.kill()
    assert not processes_of(project)
    assert command(project, "down").stdout.strip() == "nothing was up"
    asked = ["generate", "models:/scheduled@champion", "bade", "--max-new-tokens", "5"]
    generated = CliRunner().invoke(app, [*asked, "--store", str(project / "store")], env={"MLFLOW_TRACKING_URI": None})
    assert generated.stdout.startswith("bade"), generated.stderr


def wait_for_scheduled_run(api: str) -> dict[str, Any]:
    deadline = time.monotonic() + WITHIN_SECONDS
    states: list[str] = []
    while time.monotonic() < deadline:
        runs = httpx.post(f"{api}/flow_runs/filter", json={"sort": "EXPECTED_START_TIME_ASC"}, timeout=30).json()
        states = [f"{run['state_type']}: {run['state']['message']}" for run in runs]
        for run in runs:
            assert run["state_type"] not in ("FAILED", "CRASHED"), run["state"]["message"]
            if run["state_type"] == "COMPLETED":
                return dict(run)
        time.sleep(1)
    raise AssertionError(f"no scheduled run completed within {WITHIN_SECONDS:g} s; states: {states[:5]}")


def logs_of(api: str, run: dict[str, Any]) -> list[dict[str, Any]]:
    asked = {"logs": {"flow_run_id": {"any_": [run["id"]]}}}
    return list(httpx.post(f"{api}/logs/filter", json=asked, timeout=30).json())


def request_run(api: str, parameters: dict[str, Any]) -> httpx.Response:
    (deployment,) = httpx.post(f"{api}/deployments/filter", json={}, timeout=30).json()
    body = {"parameters": parameters}
    return httpx.post(f"{api}/deployments/{deployment['id']}/create_flow_run", json=body, timeout=30)


def processes_of(project: Path) -> list[list[str]]:
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline() + list(process.environ().values())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(str(project / "store") in word for word in words):
            found.append(process.cmdline())
    return found
