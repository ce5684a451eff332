"""Who is told what: a real Prefect server on PostgreSQL, real events, a webhook and a mail server that listen here."""

import json
import os
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import httpx
import pytest
from postgres import postgres_cluster

from flows import automations
from flows.prefect_server import server_command
from flows.servers import answers, free_port, prefect_settings
from minimind.errors import UserError
from tests.system.patience import wait_until

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 240.0
SECRET = "/hooks/T0-very-secret"


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((self.path, json.loads(body)["text"]))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *said: object) -> None:
        return None


@pytest.fixture(scope="module")
def hook() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.told = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs to hand over one message."""

    def handle(self) -> None:
        self.wfile.write(b"220 tests\r\n")
        while line := self.rfile.readline():
            word = line.split()[0].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b""
                while (row := self.rfile.readline()) != b".\r\n":
                    text += row
                self.server.got.append(text.decode())  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


@pytest.fixture(scope="module")
def mail() -> Iterator[Any]:
    server: Any = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
    server.got = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prefect server on PostgreSQL: SQLite answers automations with `database is locked`."""
    folder: Path = tmp_path_factory.mktemp("prefect")
    port = free_port()
    with postgres_cluster(free_port()) as database:
        url = f"http://127.0.0.1:{port}/api"
        settings = prefect_settings(folder / "store", url) | {
            "PREFECT_API_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
        }
        with (folder / "prefect.log").open("wb") as log:
            server = subprocess.Popen(
                server_command("127.0.0.1", port, ["127.0.0.1"]), env=os.environ | settings, stdout=log, stderr=log
            )
        try:
            until = time.monotonic() + 300
            while not answers(f"{url}/health"):
                assert server.poll() is None, (folder / "prefect.log").read_text()
                assert time.monotonic() < until, (folder / "prefect.log").read_text()
                time.sleep(0.5)
            with patch.dict(os.environ, settings), httpx.Client(base_url=url, timeout=60) as client:
                yield client
        finally:
            server.terminate()
            server.wait(60)


@pytest.fixture(scope="module")
def registered(api: httpx.Client, hook: Any) -> httpx.Client:
    """The automations, patient for seconds where they are for minutes."""
    with (
        patch.object(automations, "STARTED_WITHIN", timedelta(seconds=15)),
        patch.object(automations, "HEARTBEAT_WITHIN", timedelta(seconds=15)),
    ):
        done = automations.register(f"http://127.0.0.1:{hook.server_port}{SECRET}")
        assert len(done.made) == 6
        again = automations.register(f"http://127.0.0.1:{hook.server_port}{SECRET}")
    assert (again.made, len(again.changed), again.removed) == ([], 6, [])
    return api


def new_run(api: httpx.Client, domain: str, tags: tuple[str, ...] = ("minimind",)) -> str:
    """A run of a deployment, of which nobody takes care."""
    flow = api.post("/flows/", json={"name": "retrain"}).raise_for_status().json()["id"]
    made = {"name": domain, "flow_id": flow, "tags": list(tags), "entrypoint": "flows/retrain.py:retrain"}
    deployment = api.post("/deployments/", json=made).raise_for_status().json()["id"]
    run = api.post(f"/deployments/{deployment}/create_flow_run", json={"parameters": {}}).raise_for_status().json()
    return str(run["id"])


def set_state(api: httpx.Client, run: str, kind: str, message: str = "") -> None:
    state = {"state": {"type": kind, "message": message}, "force": True}
    api.post(f"/flow_runs/{run}/set_state", json=state).raise_for_status()


def heartbeat(api: httpx.Client, run: str) -> None:
    """As the flow's engine sends it."""
    event = {
        "id": str(uuid4()),
        "event": "prefect.flow-run.heartbeat",
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.name": "run"},
        "related": [{"prefect.resource.id": "prefect.tag.minimind", "prefect.resource.role": "tag"}],
        "payload": {},
    }
    api.post("/events", json=[event]).raise_for_status()


def has_event(api: httpx.Client, run: str, name: str) -> bool:
    asked = {"event": {"name": [f"prefect.flow-run.{name}"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    return bool(api.post("/events/filter", json={"filter": asked}).raise_for_status().json()["events"])


def told(hook: Any, *parts: str) -> str:
    """The message with all of these parts, once it has come."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        for path, text in list(hook.told):
            if all(part in text for part in parts):
                assert path == SECRET
                return str(text)
        time.sleep(0.5)
    raise AssertionError(f"nobody was told {parts}; what was told: {hook.told}")


def test_failed_run_is_told_with_stage_cause_and_remedy(registered: httpx.Client, hook: Any) -> None:
    message = "training: gradients exploded at step 40, lower training.optimizer.learning_rate"
    run = new_run(registered, "domain-that-fails")
    set_state(registered, run, "RUNNING")
    set_state(registered, run, "FAILED", message)
    text = told(hook, "domain-that-fails failed")
    assert message in text
    assert run in text  # the address of its page
    foreign = new_run(registered, "someone-elses", tags=())
    set_state(registered, foreign, "FAILED", "no concern of ours")
    told(hook, "domain-that-fails failed")
    assert not [text for _, text in hook.told if "someone-elses" in text]


def test_crashed_run_is_told_with_its_last_stage(registered: httpx.Client, hook: Any) -> None:
    run = new_run(registered, "domain-that-crashes")
    set_state(registered, run, "RUNNING")
    registered.patch(f"/flow_runs/{run}/labels", json={"minimind.stage": "cleaning"}).raise_for_status()
    set_state(registered, run, "CRASHED", "Flow run process exited with non-zero status code -9")
    text = told(hook, "domain-that-crashes crashed")
    assert "cleaning: Flow run process exited with non-zero status code -9" in text
    assert "Start the deployment again" in text


def test_run_without_heartbeats_becomes_crashed_and_is_told_and_a_finished_one_is_left_alone(
    registered: httpx.Client, hook: Any
) -> None:
    gone, done = new_run(registered, "domain-that-vanishes"), new_run(registered, "domain-that-ends")
    for run in (gone, done):
        set_state(registered, run, "RUNNING")
        wait_until(lambda run=run: has_event(registered, run, "Running"), PATIENCE_SECONDS, "event of the start")
        heartbeat(registered, run)  # one that came before the start would count as followed by it
    ended = {"state": {"type": "COMPLETED", "name": "Nothing new"}, "force": True}
    registered.post(f"/flow_runs/{done}/set_state", json=ended).raise_for_status()
    text = told(hook, "domain-that-vanishes crashed")
    assert "no heartbeat for 15 s" in text
    assert registered.get(f"/flow_runs/{gone}").json()["state_type"] == "CRASHED"
    assert registered.get(f"/flow_runs/{done}").json()["state_name"] == "Nothing new"


def test_run_that_no_worker_takes_is_told_as_late(registered: httpx.Client, hook: Any) -> None:
    run = new_run(registered, "domain-that-waits")
    text = told(hook, "domain-that-waits is late")
    assert "no worker has taken it" in text
    assert "minimind up" in text
    set_state(registered, run, "CANCELLED")


def test_refused_model_is_told_with_its_reasons(registered: httpx.Client, hook: Any) -> None:
    from prefect import flow, tags

    from tasks.registry import announce

    decision = {"outcome": "challenger", "reasons": ["1.2% worse than version 1", "too few documents"]}

    @flow(name="registers")
    def registers() -> None:
        announce({"name": "contracts", "version": "2", "uri": "models:/contracts/2", "decision": decision})

    with automations.settings_of_the_environment(), tags("minimind"):
        registers()
    text = told(hook, "keeps its champion")
    assert "version 2 of contracts was not promoted: 1.2% worse than version 1; too few documents" in text
    assert "`minimind promote contracts 2`" in text


def test_address_is_kept_as_a_secret(registered: httpx.Client) -> None:
    blocks = registered.post("/block_documents/filter", json={"include_secrets": False}).raise_for_status().text
    assert "minimind-notify" in blocks
    assert SECRET not in blocks
    assert SECRET not in registered.post("/automations/filter", json={}).raise_for_status().text


def test_switched_off_stays_off_and_a_mailbox_is_told_as_well(registered: httpx.Client, mail: Any) -> None:
    rows = registered.post("/automations/filter", json={}).raise_for_status().json()
    off = next(row for row in rows if row["name"] == "minimind: late runs")
    registered.patch(f"/automations/{off['id']}", json={"enabled": False}).raise_for_status()
    port = mail.server_address[1]
    automations.register(f"mailto://127.0.0.1:{port}?from=minimind@example.org&to=team@example.org")
    assert not registered.get(f"/automations/{off['id']}").json()["enabled"]
    run = new_run(registered, "domain-by-mail")
    set_state(registered, run, "RUNNING")
    set_state(registered, run, "FAILED", "corpus: the disk is full; free some space")
    until = time.monotonic() + PATIENCE_SECONDS
    while not mail.got and time.monotonic() < until:
        time.sleep(0.5)
    assert "domain-by-mail failed" in "".join(mail.got)


def test_block_that_is_not_there_is_refused(registered: httpx.Client) -> None:
    for notify in ("slack-webhook/nobody", "team"):
        with pytest.raises(UserError, match="no address and no notification block"):
            automations.register(notify)
    with pytest.raises(UserError, match="apprise cannot read"):
        automations.register("mailto://")
