import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minimind.errors import ServerError
from minimind.registry import tracking
from minimind.store import Store


def test_default_address_is_the_database_in_the_store(tmp_path: Path) -> None:
    assert tracking.tracking_uri(tmp_path, {}) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking.tracking_uri(tmp_path, {"MLFLOW_TRACKING_URI": " "}) == f"sqlite:///{tmp_path}/mlflow.db"


def test_environment_wins_and_relative_databases_become_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking.tracking_uri(tmp_path, {"MLFLOW_TRACKING_URI": "http://h:5000"}) == "http://h:5000"
    assert tracking.tracking_uri(tmp_path, {"MLFLOW_TRACKING_URI": "sqlite:///a.db"}) == f"sqlite:///{tmp_path}/a.db"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://127.0.0.1:9", "connection refused"),
        ("ftp://somewhere", "expected http"),
        ("sqlite:///:memory:", "in memory"),
        ("postgresql+psycopg2://user:hunter2@127.0.0.1:9/db", "postgresql"),
        ("http://user:hunter2@127.0.0.1:9", "***@127.0.0.1:9"),
    ],
)
def test_unreachable_server_is_refused_at_the_first_try(
    uri: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, connect = [], socket.socket.connect

    def counted(self: socket.socket, address: Any) -> None:
        tries.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", counted)
    with pytest.raises(ServerError, match="MLFLOW_TRACKING_URI") as error:
        tracking.initialise(uri, tmp_path)
    assert said in str(error.value)
    assert "hunter2" not in str(error.value)
    assert tries == [("127.0.0.1", 9)] * uri.startswith("http")


def test_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database" * 100)
    with pytest.raises(ServerError, match=r"notes\.txt"):
        tracking.initialise(f"sqlite:///{path}", tmp_path)
    assert path.read_text() == "not a database" * 100


def test_database_of_another_mlflow_version_is_refused(tmp_path: Path, empty_database: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(empty_database.read_bytes())
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = '451aebb31d03'")
    with pytest.raises(ServerError, match="another MLflow version"):
        tracking.initialise(f"sqlite:///{path}", tmp_path)


@pytest.mark.slow
def test_processes_that_start_together_share_one_fresh_database(tmp_path: Path) -> None:
    """MLflow alone crashes here: two of three processes find tables half made. What a killed run left is not used."""
    with sqlite3.connect(tmp_path / ".building-mlflow.db") as connection:
        connection.execute("create table experiments (experiment_id integer)")
    code = (
        "import sys; from pathlib import Path; from minimind.registry import tracking\n"
        "root = Path(sys.argv[1]); uri = tracking.tracking_uri(root, {}); tracking.initialise(uri, root)\n"
        "client = tracking.connect(uri); from minimind.store import Store\n"
        "print(tracking.find_or_create_run(client, Store(root, 'd'), 'e', uri, 'abc'))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len({out for out, _ in outputs}) == 1, "each made a run of its own"
    assert [err for _, err in outputs] == ["", ""], "MLflow chatters"
    assert not list(tmp_path.glob(".building-*"))


def test_experiment_lies_in_the_store_and_a_deleted_one_is_said(store: Store, uri: str) -> None:
    client = tracking.connect(uri)
    experiment_id = tracking.find_experiment(client, "law / de", uri, store)
    assert tracking.find_experiment(client, "law / de", uri, store) == experiment_id
    location = client.get_experiment(experiment_id).artifact_location
    assert location == str(store.root / "mlflow-artifacts" / "law-de")
    client.delete_experiment(experiment_id)
    with pytest.raises(ServerError, match="was deleted"):
        tracking.find_experiment(client, "law / de", uri, store)


def test_a_retraining_has_one_run(store: Store, uri: str) -> None:
    client = tracking.connect(uri)
    first = tracking.find_or_create_run(client, store, "e", uri, "aaaa")
    assert tracking.find_or_create_run(client, store, "e", uri, "aaaa") == first
    assert tracking.find_or_create_run(client, store, "e", uri, "bbbb") != first


def test_report_is_attached_and_replaced(store: Store, uri: str, tmp_path: Path) -> None:
    client = tracking.connect(uri)
    run_id = tracking.find_or_create_run(client, store, "e", uri, "aaaa")
    page = tmp_path / "somewhere.html"
    for text in ("<p>first</p>", "<p>second</p>"):
        page.write_text(text)
        tracking.log_report(uri, run_id, page)
    assert [file.path for file in client.list_artifacts(run_id)] == ["report.html"]
    assert Path(client.download_artifacts(run_id, "report.html")).read_text() == "<p>second</p>"


def test_artifacts_have_an_address_where_mlflow_is_a_server(store: Store, uri: str) -> None:
    client = tracking.connect(uri)
    run_id = tracking.find_or_create_run(client, store, "e", uri, "aaaa")
    place = f"experiments/{client.get_run(run_id).info.experiment_id}/runs/{run_id}/artifacts"
    assert (
        tracking.artifacts_address(client, "http://me:hunter2@host:5000/", run_id) == f"http://***@host:5000/#/{place}"
    )
    assert tracking.artifacts_address(client, uri, run_id) is None


def test_quick_requests_leave_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with tracking.quick_requests():
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
