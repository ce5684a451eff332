"""Whose Prefect server a run uses, without a server; the flows' tests share a real one as runs do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

import pytest
from prefect.logging.handlers import APILogHandler

from flows import local_run, own_server, servers
from flows.profiles import Setup, save_setup
from flows.servers import Started
from flows.services import KEEPER
from minimind.errors import ServerError

URL = "http://127.0.0.1:4999/api"


@pytest.fixture
def busy(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The process that the store calls the server of a run."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    record = {"url": URL, "process": asdict(Started.of("Prefect", process.pid))}
    servers.write_json(tmp_path / "servers" / "run.json", record)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("record", ["", "{", "[]", '{"url": 1}', '{"url": "http://127.0.0.1:1/api", "process": {}}'])
def test_record_of_another_version_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str) -> None:
    (tmp_path / "servers").mkdir()
    (tmp_path / "servers" / "run.json").write_text(record)
    monkeypatch.setattr(own_server, "_start_watched_server", lambda root: "a new one")
    with own_server.own_prefect_server(tmp_path) as url:
        assert url == "a new one"


def test_server_that_is_slow_to_answer_is_shared(
    tmp_path: Path, busy: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter([False, False, True])
    monkeypatch.setattr(own_server, "answers", lambda url: next(said))
    with own_server.own_prefect_server(tmp_path) as url:
        assert url == URL
    assert busy.poll() is None


def test_server_that_never_answers_is_ended(
    tmp_path: Path, busy: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(own_server, "HEALTHY_WITHIN_SECONDS", 0.5)
    monkeypatch.setattr(own_server, "answers", lambda url: bool(asked.append(url)))
    monkeypatch.setattr(own_server, "_start_watched_server", lambda root: "a new one")
    with own_server.own_prefect_server(tmp_path) as url:
        assert url == "a new one"
    assert busy.poll() is not None
    assert asked


def test_what_was_logged_last_is_sent_before_the_own_server_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    @contextmanager
    def own_server_of(root: Path) -> Iterator[str]:
        yield URL
        done.append("server ended")

    monkeypatch.setattr(local_run, "own_prefect_server", own_server_of)
    monkeypatch.setattr(local_run, "NEEDED", ())
    monkeypatch.setattr(APILogHandler, "flush", lambda self: done.append("logs sent"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with patch.dict(os.environ), local_run.prefect_server(tmp_path):
        done.append("ran")
    assert done == ["ran", "logs sent", "server ended"]


def test_run_that_has_waited_for_up_uses_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = servers.held

    @contextmanager
    def held_by_up_before(path: Path, kind: int) -> Iterator[None]:
        """`up` begins just before a run asks for the lock, and has ended when the run gets it."""
        monkeypatch.setattr(servers, "held", held)
        save_setup(tmp_path, Setup(project=tmp_path, prefect_port=4999))
        servers.record(tmp_path, Started.of("Prefect", os.getpid()))
        with held(path, kind):
            yield

    monkeypatch.setattr(servers, "held", held_by_up_before)
    monkeypatch.setattr(servers, "answers", lambda url: True)
    monkeypatch.setattr(local_run, "own_prefect_server", lambda root: pytest.fail("a second server of one database"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with patch.dict(os.environ), local_run.prefect_server(tmp_path):
        assert os.environ["PREFECT_API_URL"] == URL
        with servers.held_now(servers.users_lock(tmp_path)):
            pass  # it keeps no later `up` from starting the keeper again


@pytest.fixture
def up_without_prefect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `up` started, whose Prefect has died a moment ago and whose keeper lives."""
    save_setup(tmp_path, Setup(project=tmp_path, prefect_port=4999))
    gone = subprocess.Popen(["true"])
    dead = Started.of("Prefect", gone.pid)
    gone.wait()
    servers.record(tmp_path, dead)
    servers.record(tmp_path, Started.of(KEEPER, os.getpid()))
    monkeypatch.setattr(local_run, "own_prefect_server", lambda root: pytest.fail("a second server of one database"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.mark.usefixtures("up_without_prefect")
def test_run_waits_for_the_server_that_the_keeper_starts_again_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = iter([False, False, True])
    monkeypatch.setattr(servers, "answers", lambda url: next(said))
    with patch.dict(os.environ), local_run.prefect_server(tmp_path):
        assert os.environ["PREFECT_API_URL"] == URL
    assert capsys.readouterr().err == "waiting for the Prefect server of `minimind up` at http://127.0.0.1:4999\n"


@pytest.mark.usefixtures("up_without_prefect")
def test_run_is_refused_where_the_server_of_up_stays_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_run, "BACK_WITHIN_SECONDS", 0.1)
    monkeypatch.setattr(servers, "answers", lambda url: False)
    sentence = (
        r"does not answer at http://127.0.0.1:4999, and a second one must not use its database: see `minimind status`"
    )
    with patch.dict(os.environ), pytest.raises(ServerError, match=sentence), local_run.prefect_server(tmp_path):
        pass


def test_run_starts_a_server_of_its_own_where_nothing_of_up_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def own_server_of(root: Path) -> Iterator[str]:
        yield "http://127.0.0.1:1/api"

    save_setup(tmp_path, Setup(project=tmp_path, prefect_port=4999))  # it was up before this machine started anew
    monkeypatch.setattr(local_run, "own_prefect_server", own_server_of)
    monkeypatch.setattr(local_run, "NEEDED", ())
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with patch.dict(os.environ), local_run.prefect_server(tmp_path):
        assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
