import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from metric_lines import arrived, expected, lines
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from minimind.errors import DiskFullError, ServerError
from minimind.registry import forwarding, tracking
from minimind.registry.forwarding import MetricForwarder
from minimind.store import Store

FINGERPRINT = "0123456789abcdef"
AWAY = MlflowException("API request failed with exception HTTPConnectionPool: Connection refused")


class Killed(BaseException):
    """Stands for SIGKILL: nothing that runs in the process catches it."""


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return tracking.connect(uri)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "training").mkdir()
    return tmp_path / "training"


@pytest.fixture
def forwarder(store: Store, uri: str) -> MetricForwarder:
    return MetricForwarder(store, "e", uri)


@pytest.fixture(autouse=True)
def small_batches_and_no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "MAX_BATCH_METRICS", 50)
    monkeypatch.setattr(forwarding, "PAUSE_SECONDS", 0.0)


def test_every_series_arrives_with_its_steps_and_times(
    forwarder: MetricForwarder, client: MlflowClient, folder: Path
) -> None:
    (folder / "metrics.jsonl").write_text(lines(1, 30))
    run_id = forwarder.finish(folder, FINGERPRINT)
    for name in ("tokens", "loss", "learning_rate", "gradient_norm", "tokens_per_second", "holdout_bits_per_byte"):
        assert arrived(client, run_id, name) == expected(lines(1, 30), name)


def test_only_whole_new_lines_are_sent(forwarder: MetricForwarder, client: MlflowClient, folder: Path) -> None:
    assert forwarder.forward(folder, FINGERPRINT) == 0, "there is no file yet"
    path = folder / "metrics.jsonl"
    path.write_text(lines(1, 7) + lines(8, 8)[:20])
    assert forwarder.forward(folder, FINGERPRINT) == 7
    assert forwarder.forward(folder, FINGERPRINT) == 0
    path.write_text(lines(1, 9))
    assert forwarder.forward(folder, FINGERPRINT) == 2
    assert arrived(client, forwarder.finish(folder, FINGERPRINT)) == expected(lines(1, 9))


def test_each_step_arrives_once_whenever_the_process_is_killed(
    store: Store, uri: str, client: MlflowClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before and after every request and every write of the progress file, then run again."""
    (folder / "metrics.jsonl").write_text(lines(1, 30))
    moments = itertools.count()
    kill_at = -1

    def mortal(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if next(moments) == kill_at:
                raise Killed
            result = call(*arguments, **options)
            if next(moments) == kill_at:
                raise Killed
            return result

        return wrapped

    monkeypatch.setattr(MlflowClient, "create_run", mortal(MlflowClient.create_run))
    monkeypatch.setattr(MlflowClient, "log_batch", mortal(MlflowClient.log_batch))
    monkeypatch.setattr(MetricForwarder, "_save", mortal(MetricForwarder._save))
    killed = 0
    for kill_at in itertools.count():
        moments = itertools.count()
        fingerprint = f"{kill_at:016x}"
        try:
            MetricForwarder(store, "e", uri).finish(folder, fingerprint)
        except Killed:
            killed += 1
        else:
            break
        run_id = MetricForwarder(store, "e", uri).finish(folder, fingerprint)
        assert arrived(client, run_id) == expected(lines(1, 30)), f"killed at moment {kill_at}"
        assert arrived(client, run_id, "holdout_loss") == expected(lines(1, 30), "holdout_loss")
    assert killed == 2 * (1 + 4 + 4), "one run, four batches, four writes"


@pytest.mark.parametrize("cut", [0, 11, 20])
@pytest.mark.parametrize("grown", [0, 5, 40])
@pytest.mark.parametrize("new_process", [False, True])
def test_steps_that_a_resumed_training_repeats_are_not_sent_twice(
    cut: int, grown: int, new_process: bool, store: Store, uri: str, client: MlflowClient, folder: Path
) -> None:
    """20 steps arrived, the file is cut back to the checkpoint, and has grown by some lines when it is read again."""
    path = folder / "metrics.jsonl"
    forwarder = MetricForwarder(store, "e", uri)
    path.write_text(lines(1, 20))
    forwarder.forward(folder, FINGERPRINT)
    path.write_text(lines(1, cut) + lines(cut + 1, cut + grown, hour=1))
    if new_process:
        forwarder = MetricForwarder(store, "e", uri)
    forwarder.forward(folder, FINGERPRINT)
    path.write_text(lines(1, cut) + lines(cut + 1, 70, hour=1))
    run_id = forwarder.finish(folder, FINGERPRINT)
    assert arrived(client, run_id) == expected(lines(1, 20)) + expected(lines(21, 70, hour=1))


def test_file_of_the_same_length_with_other_lines_is_noticed(
    forwarder: MetricForwarder, client: MlflowClient, folder: Path
) -> None:
    """Cut back and grown to exactly the old offset, at a line's end: the offset alone would pass over steps."""
    path = folder / "metrics.jsonl"
    path.write_text(lines(1, 20))
    forwarder.forward(folder, FINGERPRINT)
    longer = lines(1, 9) + lines(10, 10).replace("}", " " * len(lines(11, 20).encode()) + "}") + lines(11, 30, hour=1)
    assert longer.encode()[len(lines(1, 20).encode()) - 1 :].startswith(b"\n")
    path.write_text(longer)
    run_id = forwarder.finish(folder, FINGERPRINT)
    assert [step for step, _, _ in arrived(client, run_id)] == list(range(1, 31))


def test_server_that_goes_away_is_said_once_and_nothing_is_lost(
    forwarder: MetricForwarder, client: MlflowClient, folder: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Away for five attempts; the request of one of them arrived, and only its answer was lost."""
    caplog.set_level(logging.INFO, "minimind")
    path, answers = folder / "metrics.jsonl", iter(["lost", "away", "away", "answer lost", "away"])
    log_batch = MlflowClient.log_batch

    def unreliable(self: MlflowClient, *arguments: Any, **options: Any) -> None:
        answer = next(answers, "fine")
        if answer in ("fine", "answer lost"):
            log_batch(self, *arguments, **options)
        if answer != "fine":
            raise AWAY

    monkeypatch.setattr(MlflowClient, "log_batch", unreliable)
    for last in range(5, 45, 5):
        path.write_text(lines(1, last))
        forwarder.forward(folder, FINGERPRINT)
    run_id = forwarder.finish(folder, FINGERPRINT)
    assert arrived(client, run_id) == expected(lines(1, 40))
    assert [record.levelname for record in caplog.records if "away" in record.message] == ["WARNING"]
    assert [record.levelname for record in caplog.records if "is back after" in record.message] == ["INFO"]


def test_finish_waits_for_the_server_then_says_what_to_do(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any, **options: Any) -> str:
        raise AWAY

    monkeypatch.setattr(forwarding, "find_or_create_run", refused)
    said: list[str] = []
    watched = Store(store.root, store.domain, lambda stage, done, total, text: said.append(text))
    with pytest.raises(ServerError, match=r"connection refused.*The training is kept") as error:
        MetricForwarder(watched, "e", "http://me:hunter2@127.0.0.1:9").finish(folder, FINGERPRINT, timeout_seconds=0.2)
    assert "hunter2" not in str(error.value) + "".join(said)
    assert "waiting for MLflow at http://***@127.0.0.1:9" in said


def test_what_waiting_does_not_mend_is_said_at_once(
    forwarder: MetricForwarder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any, **options: Any) -> str:
        raise MlflowException("no access to this experiment", error_code=PERMISSION_DENIED)

    monkeypatch.setattr(forwarding, "find_or_create_run", refused)
    with pytest.raises(ServerError, match="no access"):
        forwarder.finish(folder, FINGERPRINT, timeout_seconds=60)


def test_full_disk_is_said_at_once(forwarder: MetricForwarder, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> str:
        raise MlflowException("(sqlite3.OperationalError) database or disk is full")

    monkeypatch.setattr(forwarding, "find_or_create_run", full)
    with pytest.raises(DiskFullError, match="free some space"):
        forwarder.finish(folder, FINGERPRINT, timeout_seconds=60)


def test_another_database_gets_everything(
    forwarder: MetricForwarder, store: Store, folder: Path, tmp_path: Path, empty_database: Path
) -> None:
    """The progress file belongs to a run that the new database does not have."""
    (folder / "metrics.jsonl").write_text(lines(1, 30))
    forwarder.finish(folder, FINGERPRINT)
    (tmp_path / "new.db").write_bytes(empty_database.read_bytes())
    new = f"sqlite:///{tmp_path / 'new.db'}"
    run_id = MetricForwarder(store, "e", new).finish(folder, FINGERPRINT)
    assert arrived(tracking.connect(new), run_id) == expected(lines(1, 30))


def test_damaged_progress_file_costs_nothing(
    forwarder: MetricForwarder, store: Store, uri: str, client: MlflowClient, folder: Path
) -> None:
    (folder / "metrics.jsonl").write_text(lines(1, 30))
    run_id = forwarder.finish(folder, FINGERPRINT)
    (store.root / "tracking" / f"{FINGERPRINT}-{store.domain}.json").write_text('{"run_id":')
    assert MetricForwarder(store, "e", uri).finish(folder, FINGERPRINT) == run_id
    assert arrived(client, run_id) == expected(lines(1, 30))
