"""The keeper's rules; that it keeps real servers is shown by tests/system."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from flows import keeper, servers
from flows.dead_runs import (
    PENDING_SECONDS,
    RUN_VARIABLE,
    SEEN_DEAD_SECONDS,
    TELL_AGAIN_SECONDS,
    DeadRuns,
    end_left_behind,
)
from flows.keeper_state import SILENT_SECONDS, is_looking, load_state, state_path
from flows.services import KEEPER
from minimind.store import Store
from tests.system.patience import wait_until

RUN = "0191e0c0-0000-7000-8000-000000000001"


def test_service_that_dies_again_and_again_is_tried_for_ever_after_growing_pauses() -> None:
    restarts = keeper.Restarts()
    moments = [now for now in range(0, 3000) if restarts.is_due(float(now))]
    assert restarts.is_failing
    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses == sorted(pauses)
    assert pauses[keeper.TRIES - 1 :] == [keeper.LATER_SECONDS] * 4


def test_service_that_became_healthy_is_started_at_once_however_often_it_is_killed() -> None:
    restarts, now = keeper.Restarts(), 0.0
    for _ in range(3 * keeper.TRIES):
        assert restarts.is_due(now)
        now += keeper.ASK_SECONDS
        restarts.note_alive(lambda: True, lambda: True, now)


def test_service_that_lives_for_long_and_never_becomes_healthy_is_failing_until_it_is() -> None:
    restarts, now = keeper.Restarts(), 0.0
    while not restarts.is_failing:
        assert restarts.is_due(now)
        now += 10 * keeper.ASK_SECONDS
        restarts.note_alive(lambda: False, lambda: True, now)
    assert not restarts.is_due(now)
    restarts.note_alive(lambda: True, lambda: True, now + keeper.ASK_SECONDS)
    assert not restarts.is_failing
    assert restarts.is_due(now)


def test_service_that_fails_keeps_no_later_one_from_being_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    dead = [SimpleNamespace(name=name, is_alive=lambda: False) for name in ("MLflow", "worker")]
    described = dict.fromkeys(("MLflow", "worker"), SimpleNamespace(is_healthy=lambda: False))
    monkeypatch.setattr(keeper, "start_again", lambda root, name: started.append(name))
    monkeypatch.setattr(keeper.servers, "recorded_servers", lambda root: dead)
    monkeypatch.setattr(keeper.servers, "running_servers", lambda root: [])
    kept = keeper.Keeper(tmp_path)
    (tmp_path / "servers").mkdir()
    place: Any = SimpleNamespace(services=lambda: described)
    monkeypatch.setattr(keeper, "recorded_place", lambda root: place)
    kept.try_to_look()
    assert (started, load_state(tmp_path).failing) == (["MLflow"], [])
    kept.restarts_of("MLflow").tries = keeper.TRIES
    kept.try_to_look()
    assert (started, load_state(tmp_path).failing) == (["MLflow", "worker"], ["MLflow"])


def test_service_is_not_taken_for_healthy_in_the_first_seconds_of_a_start() -> None:
    restarts = keeper.Restarts()
    assert restarts.is_due(0.0)
    restarts.note_alive(lambda: True, lambda: True, keeper.ASK_SECONDS - 1)
    assert restarts.tries == 1


@pytest.mark.parametrize("tries", [0, 1, 3])
def test_service_that_lives_and_does_not_answer_hangs_after_minutes_and_later_the_more_often_it_was_tried(
    tries: int,
) -> None:
    restarts, now = keeper.Restarts(tries, tried_at=0.0), 0.0
    while not restarts.is_hanging:
        now += keeper.LOOK_SECONDS
        restarts.note_alive(lambda: False, lambda: True, now)
    assert now == 300 * (1 + tries)


def test_one_answer_or_an_excuse_ends_the_count_of_questions_that_went_unanswered() -> None:
    for healthy, to_blame in ((True, True), (False, False)):
        restarts = keeper.Restarts(unanswered=keeper.HANGING_ASKED - 1)
        restarts.note_alive(lambda healthy=healthy: healthy, lambda to_blame=to_blame: to_blame, 0.0)
        assert restarts.unanswered == 0


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store whose one service is a web server; the keeper asks at each look."""
    monkeypatch.setattr(keeper, "ASK_SECONDS", 0.0)
    port = servers.free_port()
    command = [sys.executable, "-m", "http.server", str(port)]
    service = servers.Service("MLflow", command, "", lambda: answers(port), folder=tmp_path, grace_seconds=1)
    place: Any = SimpleNamespace(services=lambda: {"MLflow": service})
    monkeypatch.setattr(keeper, "start_again", lambda root, name: servers.launch(root, service)[0])
    monkeypatch.setattr(keeper, "recorded_place", lambda root: place)
    servers.start(tmp_path, service)
    yield service
    servers.stop(servers.left_over(tmp_path))


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}", timeout=0.5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def test_service_that_hangs_is_stopped_and_started_again_and_the_status_says_so(tmp_path: Path, web: Any) -> None:
    kept = keeper.Keeper(tmp_path)
    kept.try_to_look()
    (hanging,) = servers.recorded_servers(tmp_path)
    process = hanging.process()
    assert process
    process.suspend()
    for _ in range(keeper.HANGING_ASKED - 1):
        kept.try_to_look()
    assert servers.recorded_servers(tmp_path) == [hanging]
    for _ in range(2):
        kept.try_to_look()
    assert not hanging.is_alive()
    (again,) = servers.recorded_servers(tmp_path)
    assert again.is_alive()
    assert (
        "did not answer 10 times in a row; stopped, to be started again, at 20" in load_state(tmp_path).said["MLflow"]
    )
    while not web.is_healthy():
        time.sleep(0.1)
    kept.try_to_look()
    assert kept.restarts_of("MLflow").tries == 0


def test_worker_that_hangs_is_killed_and_its_runs_go_on(tmp_path: Path) -> None:
    child = "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"
    worker = servers.launch(tmp_path, servers.Service("worker", [sys.executable, "-c", child], "", lambda: False))[0]
    process = worker.process()
    assert process
    while not (runs := process.children()):
        time.sleep(0.05)
    kept = keeper.Keeper(tmp_path)
    kept.restarts["worker"] = keeper.Restarts(unanswered=keeper.HANGING_ASKED - 1)
    kept.unanswered = True
    kept.ask(worker, lambda: False, [])
    assert worker.is_alive(), "Prefect, through which it is heard of, gave no answer"
    kept.unanswered = False
    kept.restarts["worker"] = keeper.Restarts(unanswered=keeper.HANGING_ASKED - 1)
    kept.ask(worker, lambda: False, [lambda: True])
    assert not worker.is_alive()
    assert runs[0].is_running()
    runs[0].kill()


def test_look_that_fails_is_logged_when_it_begins_and_when_it_changes_and_the_status_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([None, OSError("full"), OSError("full"), ValueError("bad"), None, None])

    def look(place: Any) -> None:
        if failure := next(failures):
            raise failure

    monkeypatch.setattr(keeper, "recorded_place", lambda root: "a place")
    kept = keeper.Keeper(tmp_path)
    monkeypatch.setattr(kept, "look", look)
    caplog.set_level("INFO")
    told = []
    for _ in range(6):
        kept.try_to_look()
        told.append((is_looking(tmp_path, KEEPER), load_state(tmp_path).said.get(KEEPER)))
    full, bad = (False, "looks fail: OSError: full"), (False, "looks fail: ValueError: bad")
    assert told == [(True, None), full, full, bad, (True, None), (True, None)]
    assert [record.getMessage() for record in caplog.records] == [full[1], bad[1], "looks are well"]


def test_keeper_that_has_not_looked_for_minutes_is_not_healthy(tmp_path: Path) -> None:
    assert not is_looking(tmp_path, KEEPER)
    kept = keeper.Keeper(tmp_path)
    kept.try_to_look()
    assert is_looking(tmp_path, KEEPER)
    long_ago = time.time() - SILENT_SECONDS - 1
    os.utime(state_path(tmp_path), (long_ago, long_ago))
    assert not is_looking(tmp_path, KEEPER)
    kept.try_to_look()
    assert is_looking(tmp_path, KEEPER)


class Api:
    """Answers as Prefect's API does for one run, and keeps what it is told."""

    def __init__(self, state: str, worker: str | None) -> None:
        self.labels = {"prefect.worker.name": worker} if worker else {}
        self.state, self.told = state, []

    def __call__(self, path: str, body: Any) -> Any:
        if path == "/flow_runs/filter":
            if self.state not in body["flow_runs"]["state"]["type"]["any_"]:
                return []
            state = {"timestamp": "2020-01-01T00:00:00Z"}
            return [{"id": RUN, "name": "run", "state_type": self.state, "state": state, "labels": self.labels}]
        self.told.append((path, body["state"]["type"]))
        return {"status": "ACCEPT"}


def test_run_whose_lock_is_left_behind_is_crashed_at_the_second_look(tmp_path: Path) -> None:
    store, api = Store(tmp_path, ""), Api("RUNNING", None)
    lock = tmp_path / "locks" / "runs" / RUN
    lock.parent.mkdir(parents=True)
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        runs = DeadRuns(store, "minimind")
        assert not runs.end(api, 0)
        assert not runs.end(api, SEEN_DEAD_SECONDS)
    assert not runs.end(api, 10)
    assert [ended.state for ended in runs.end(api, 10 + SEEN_DEAD_SECONDS)] == ["CRASHED"]
    assert api.told == [(f"/flow_runs/{RUN}/set_state", "CRASHED")]
    assert not store.abandoned_runs()


def test_run_that_the_worker_has_claimed_and_not_started_has_until_the_worker_gives_up(tmp_path: Path) -> None:
    """Its server may have died just then, and is back long before the worker asks it again."""
    runs, api = DeadRuns(Store(tmp_path, ""), "minimind"), Api("PENDING", "minimind")
    for now in (0, SEEN_DEAD_SECONDS, 75):  # the worker's five tries, each after twice as long
        assert not runs.end(api, now)
    assert [ended.state for ended in runs.end(api, PENDING_SECONDS)] == ["CRASHED"]
    left = Api("PENDING", "minimind")
    end_left_behind(Store(tmp_path, ""), "minimind", left)
    assert [state for _, state in left.told] == ["CRASHED"], "a new server has no worker yet"


def test_only_runs_of_our_worker_are_ended_for_want_of_a_process(tmp_path: Path) -> None:
    for worker, states in (("minimind", ["CANCELLED"]), ("elsewhere", []), (None, [])):
        runs, api = DeadRuns(Store(tmp_path, ""), "minimind"), Api("CANCELLING", worker)
        runs.end(api, 0)
        assert [ended.state for ended in runs.end(api, SEEN_DEAD_SECONDS)] == states


def test_run_that_was_to_be_cancelled_is_so_though_its_process_called_it_crashed(tmp_path: Path) -> None:
    runs, api = DeadRuns(Store(tmp_path, ""), "minimind"), Api("RUNNING", "elsewhere")
    for state, ended in (("RUNNING", []), ("CANCELLING", []), ("CRASHED", ["CANCELLED"]), ("CANCELLED", [])):
        api.state = state
        assert [one.state for one in runs.end(api, 0)] == ended
    crashed = DeadRuns(Store(tmp_path, ""), "minimind")
    for api.state in ("RUNNING", "CRASHED"):
        assert not crashed.end(api, 0)


def test_new_server_ends_at_once_what_died_with_the_last_one_and_leaves_runs_of_other_machines(tmp_path: Path) -> None:
    store, told = Store(tmp_path, ""), []
    for worker in ("minimind", "elsewhere", None):
        api = Api("RUNNING", worker)
        end_left_behind(store, "minimind", api)
        told.append([state for _, state in api.told])
    assert told == [["CRASHED"], [], ["CRASHED"]]
    (tmp_path / "locks" / "runs").mkdir(parents=True)
    (tmp_path / "locks" / "runs" / RUN).touch()
    api = Api("CANCELLING", None)
    end_left_behind(store, "minimind", api)
    assert [state for _, state in api.told] == ["CANCELLED"]


def test_process_that_nobody_cancels_is_told_to_stop_and_not_again_while_it_may_write_a_checkpoint(
    tmp_path: Path,
) -> None:
    """The state is years old, much longer than a worker takes."""
    told, ready = tmp_path / "told", tmp_path / "ready"
    code = (
        f"import pathlib, signal, time; told = pathlib.Path({str(told)!r}).open('a', buffering=1);"
        f"signal.signal(signal.SIGTERM, lambda *_: told.write('TERM\\n')); pathlib.Path({str(ready)!r}).touch();"
        "[time.sleep(0.05) for _ in range(1200)]"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={RUN_VARIABLE: RUN})
    try:
        wait_until(ready.exists, 10, "process")
        runs = DeadRuns(Store(tmp_path, ""), "minimind")
        for now, times in ((0.0, 1), (2.0, 1), (TELL_AGAIN_SECONDS - 1, 1), (TELL_AGAIN_SECONDS, 2)):
            assert not runs.end(Api("CANCELLING", "minimind"), now)
            wait_until(lambda times=times: len(told.read_text().split()) >= times, 10, "signal")
            time.sleep(0.2)
            assert len(told.read_text().split()) == times
    finally:
        process.kill()
        process.wait()


def test_log_that_is_too_long_is_set_aside_while_it_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "MAX_LOG_BYTES", 100)
    log = servers.log_path(tmp_path, "Prefect")
    lines = "import sys\nfor line in sys.stdin: print(line.strip() * 60, flush=True)"
    process = servers.spawn([sys.executable, "-c", "import time; time.sleep(60)"], log, {})
    process.kill()
    process.wait()
    with log.open("ab") as output:
        writer = subprocess.Popen([sys.executable, "-c", lines], stdin=subprocess.PIPE, stdout=output, text=True)
        assert writer.stdin
        for word in ("a", "b", "c"):
            print(word, file=writer.stdin, flush=True)
            wait_until(lambda word=word: word in log.read_text(), 10, "line")
            keeper.Keeper(tmp_path).try_to_look()
        writer.stdin.close()
        writer.wait()
    assert log.read_bytes() == b"c" * 60 + b"\n"
    assert log.with_name("prefect.log.1").read_bytes() == b"a" * 60 + b"\n" + b"b" * 60 + b"\n"


def test_log_that_is_too_long_is_cut_and_services_are_looked_after_though_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(servers, "MAX_LOG_BYTES", 100)
    monkeypatch.setattr(servers.shutil, "copyfile", full)
    looked: list[object] = []
    monkeypatch.setattr(keeper, "recorded_place", lambda root: "place")
    monkeypatch.setattr(keeper.Keeper, "look", lambda self, place: looked.append(place))
    log = servers.log_path(tmp_path, "Prefect")
    log.parent.mkdir()
    log.write_text("a" * 200)
    log.with_name("prefect.log.1").write_text("before")
    keeper.Keeper(tmp_path).try_to_look()
    assert looked == ["place"]
    assert log.read_bytes() == b""
    assert not log.with_name("prefect.log.1").exists()


def test_mlflow_is_told_once_of_what_is_abandoned_and_not_waited_for(tmp_path: Path, monkeypatch: Any) -> None:
    told: list[subprocess.Popen[bytes]] = []

    def tell(place: Any) -> "subprocess.Popen[bytes]":
        told.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        return told[-1]

    monkeypatch.setattr(keeper, "tell_mlflow", tell)
    place = SimpleNamespace(prefect_api=lambda: SimpleNamespace(post=lambda path, body: []))
    one = keeper.Keeper(tmp_path)
    monkeypatch.setattr(one.dead_runs, "end", lambda post, now: [])
    lock = tmp_path / "locks" / "runs" / RUN
    lock.parent.mkdir(parents=True)
    for abandoned, times in ((False, 0), (True, 1), (True, 1), (False, 1), (True, 2)):
        lock.touch() if abandoned else lock.unlink(missing_ok=True)
        one.end_dead_runs(place)
        assert len(told) == times
    for process in told:
        assert process.poll() is None
        process.kill()
        process.wait()
