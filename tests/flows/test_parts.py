"""Parts that a Prefect task runner works on give the bytes of a whole that is worked on in turn."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from domain import PrefectServer
from prefect import flow

from flows.servers import free_port, prefect_settings
from minimind.cleaning import database
from minimind.cleaning.build import CleaningInputs
from minimind.cleaning.build import build as cleaning
from minimind.cleaning.parts import Resources
from minimind.config import Config, load_config
from minimind.corpus.build import CorpusInputs
from minimind.corpus.build import build as corpus
from minimind.errors import SourceError, UserError, WorkersLostError
from minimind.parts import IN_TURN, Report, Workers
from minimind.shards.build import ShardsInputs
from minimind.shards.build import build as shards
from minimind.store import Manifest, Store
from minimind.tokenizer.build import TokenizerInputs
from minimind.tokenizer.build import build as tokenizer
from tasks.parts import PrefectWorkers, check_same
from tasks.runners import PARTS_AT_ONCE, runner_name

PART_BYTES = 8_000
SMALL = [
    "cleaning.split.min_documents=2", "cleaning.split.min_bytes=100", "cleaning.quality=none",
    "tokenizer.vocabulary_size=400", "shards.tokens_per_shard=5000", "corpus.requests_per_second=1000",
]  # fmt: skip
needs = {
    name: pytest.mark.skipif(not find_spec(f"prefect_{name}"), reason=f"the extra [{name}] is not installed")
    for name in ("dask", "ray")
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, sentences: Callable[[int, int], str]) -> Iterator[Config]:
    """Texts that have to be downloaded, some of them in one file."""
    folder = tmp_path_factory.mktemp("served")
    for number in range(60):
        (folder / f"{number:02}.txt").write_text(sentences(number, 120))
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        files = [{"url": f"{url}/{number:02}.txt"} for number in range(60)]
        loaded = load_config(Path("configs/demo.yaml"), SMALL)
        served = {"kind": "http", "name": "texts", "license": None, "members": ["**"], "files": files}
        tree = loaded.model_dump(mode="json")
        tree["corpus"]["sources"] = [served]
        yield Config.model_validate(tree)
        server.shutdown()


@pytest.fixture(scope="module", autouse=True)
def many_row_groups() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "PUBLISHED_ROWS", 8)
        yield


def build_all(config: Config, store: Store, workers: Workers) -> dict[str, dict[str, str]]:
    """By stage, the digests of its files."""
    built: dict[str, Manifest] = {}
    built["corpus"] = corpus(config.corpus, CorpusInputs(workers=workers), store)
    resources = Resources(partition_bytes=PART_BYTES, workers=workers)
    built["cleaning"] = cleaning(config.cleaning, CleaningInputs(built["corpus"], resources), store)
    built["tokenizer"] = tokenizer(config.tokenizer, TokenizerInputs(built["cleaning"]), store)
    inputs = ShardsInputs(built["cleaning"], built["tokenizer"], None, workers, PART_BYTES)
    built["shards"] = shards(config.shards, inputs, store)
    return {stage: {name: file.sha256 for name, file in made.files.items()} for stage, made in built.items()}


@pytest.fixture(scope="module")
def in_turn(config: Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    return build_all(config, Store(tmp_path_factory.mktemp("turn"), "tests"), IN_TURN)


@dataclass
class Run:
    digests: dict[str, dict[str, str]]
    reports: list[tuple[Any, ...]]


def run_over(runner: str, config: Config, prefect: PrefectServer, store: Path) -> Run:
    reports: list[tuple[Any, ...]] = []
    listening = Store(store, "tests", lambda *step: reports.append(step))

    @flow(name=f"parts over {runner.partition(':')[0]}")
    def build() -> Any:
        return build_all(config, listening, PrefectWorkers(runner))

    with prefect.spoken_to():
        return Run(build(), reports)


@pytest.mark.parametrize(
    "runner",
    [
        pytest.param("threads", marks=pytest.mark.slow),
        pytest.param("processes", marks=pytest.mark.slow),
        pytest.param("dask", marks=[pytest.mark.slow, needs["dask"]]),
        pytest.param("ray", marks=[pytest.mark.slow, needs["ray"]]),
    ],
)
def test_same_bytes_over_every_runner(
    runner: str, config: Config, prefect: PrefectServer, in_turn: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    run = run_over(runner, config, prefect, tmp_path / "store")
    assert run.digests == in_turn
    said = {(stage, text) for stage, _, _, text in run.reports}
    mapped = {"cleaning", "shards"} | ({"corpus"} if runner != "threads" else set())
    assert {stage for stage, text in said if text.startswith("part 2 of ")} == mapped
    assert not list((tmp_path / "store").rglob(".part*"))


# --- workers that die -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_part_is_worked_on_again_where_a_process_of_the_pool_has_died(
    config: Config, prefect: PrefectServer, in_turn: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    with killer(tmp_path / "store", pool_process) as attempts:
        assert run_over("processes", config, prefect, tmp_path / "store").digests == in_turn
    assert worked_on_twice(attempts)


@pytest.mark.slow
@needs["dask"]
def test_dask_cluster_of_two_gives_the_same_bytes_though_one_is_killed(
    config: Config, prefect: PrefectServer, in_turn: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    with (
        dask_cluster(tmp_path, prefect) as (address, workers),
        killer(tmp_path / "store", lambda: workers[0]) as attempts,
    ):
        assert run_over(f"dask:{address}", config, prefect, tmp_path / "store").digests == in_turn
    assert worked_on_twice(attempts)
    assert "Remove worker" in (tmp_path / "dask-0.log").read_text()


@contextmanager
def killer(store: Path, victim: Callable[[], int | None]) -> Iterator[set[str]]:
    """Kills one of two workers while both clean; the folders that parts were begun in."""
    ended = threading.Event()
    attempts: set[str] = set()

    def watch() -> None:
        killed = False
        while not ended.is_set():
            begun = {path.name for path in store.glob("cleaning/.building-*/.working/.part-*")}
            attempts.update(begun)
            if not killed and len(begun) >= 2 and (pid := victim()):
                os.kill(pid, signal.SIGKILL)
                killed = True
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield attempts
    finally:
        ended.set()
        thread.join()


def worked_on_twice(attempts: set[str]) -> list[str]:
    """The parts of which two were begun."""
    parts = Counter(name.rpartition("-")[0] for name in attempts)
    return [name for name, times in parts.items() if times > 1]


def pool_process() -> int | None:
    """Of this process, one that works for the pool."""
    for child in psutil.Process().children():
        if any("spawn_main" in word for word in child.cmdline()) and child.cpu_times().user > 0.5:
            return child.pid
    return None


@contextmanager
def dask_cluster(logs: Path, prefect: PrefectServer) -> Iterator[tuple[str, list[int]]]:
    """Address, and the pids of two workers with one thread each, which report to the server."""
    from distributed import Client

    environment = os.environ | prefect_settings(prefect.store, prefect.url)
    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = ["scheduler", "--host", address, "--no-dashboard"]
    worker = ["worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number, (kind, *words) in enumerate([scheduler, worker, worker]):
            with (logs / f"dask-{number}.log").open("wb") as log:
                command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words]
                started.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
        with Client(address, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, [one.pid for one in started[1:]]
    finally:
        for one in started:  # a worker that is told to stop may wait for ever for its scheduler
            one.kill()
            one.wait()


@dataclass(frozen=True)
class Fatal:
    """A part whose worker dies each time."""

    name: str
    size: float = 1.0


def die(part: Fatal, report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_part_that_kills_every_worker_is_given_up_in_words(prefect: PrefectServer) -> None:
    @flow
    def mapped() -> Any:
        return list(PrefectWorkers("processes").each(die, [Fatal("first"), Fatal("second")], lambda *step: None))

    with prefect.spoken_to(), pytest.raises(WorkersLostError, match=r"2 of 2 parts died 3 times, of .* too little mem"):
        mapped()


# --- what needs no worker ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    name: str
    size: float = 1.0


def refuse_the_second(part: Told, report: Report) -> str:
    if part.name == "second":
        raise SourceError("the second is refused")
    time.sleep(0.2)
    return part.name


def test_the_failure_of_a_part_is_raised_when_the_others_have_ended(prefect: PrefectServer) -> None:
    done = []

    @flow
    def mapped() -> None:
        parts = [Told("first"), Told("second"), Told("third")]
        for part, _ in PrefectWorkers("threads").each(refuse_the_second, parts, lambda *step: None):
            done.append(part.name)

    with prefect.spoken_to(), pytest.raises(SourceError, match="the second is refused"):
        mapped()
    assert sorted(done) == ["first", "third"]


def test_a_worker_with_other_code_is_refused() -> None:
    with pytest.raises(UserError, match="other code or other libraries"):
        check_same("0" * 64)


def test_progress_of_parts_in_turn_goes_by_their_sizes() -> None:
    reports: list[tuple[Any, ...]] = []
    parts = [Told("large", 3.0), Told("small", 1.0)]
    worked = IN_TURN.each(lambda part, report: report(1, 2, "half"), parts, lambda *step: reports.append(step))
    assert [part.name for part, _ in worked] == ["large", "small"]
    assert reports == [(1.5, 4.0, "half, part 1 of 2"), (3.5, 4.0, "half, part 2 of 2")]


def test_the_request_decides_on_a_runner_before_the_environment() -> None:
    assert runner_name(None, {}) == "threads"
    assert runner_name(None, {"MINIMIND_TASK_RUNNER": "processes"}) == "processes"
    assert runner_name("threads", {"MINIMIND_TASK_RUNNER": "processes"}) == "threads"
    assert 1 <= PARTS_AT_ONCE <= 4


@pytest.mark.parametrize("name", ["thread", "dask:10.0.0.5:8786", "dask:tcp://", "ray:10001", "dask:tcp://a b"])
def test_an_unknown_runner_is_refused_in_words(name: str) -> None:
    with pytest.raises(UserError, match="is unknown; these are known: threads, processes, dask"):
        runner_name(name, {})


def test_a_missing_extra_is_said_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.runners.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the extra \[dask\]; install it with pip install -c requirements.lock"):
        runner_name("dask", {})
