"""What `minimind up` starts, for one store in a temporary folder; runs on it, and looks at what they leave."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from flows import keeper, servers
from flows.dead_runs import processes_of_runs
from flows.profiles import Place, recorded_place
from flows.services import KEEPER
from minimind.store import STAGES, Store
from tests.flows.domain import MINIMIND, PROJECT, environment, published, small_config, write_corpus
from tests.system.fleeting import children_of, stands_still, words_of
from tests.system.patience import PATIENCE, wait_until

NOTICED_SECONDS = keeper.HANGING_ASKED * keeper.ASK_SECONDS + 60  # that a service hangs, each question with its wait
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
REBUILT = (*STAGES, "downloads", "texts", "tracking")
BUDGET = "150k tokens"
SECRETS = {"MINIMIND_TEST_TOKEN": "planted-8f3b/7c@1"}  # in the environment of all that is up


@dataclass
class Installation:
    """Servers, a worker and a keeper of a store of its own; every domain is deployed as `domain`."""

    folder: Path
    sentences: Callable[[int, int], str]
    profile: str = "local"
    prefect_port: int = field(default_factory=servers.free_port)
    mlflow_port: int = field(default_factory=servers.free_port)
    environment: Mapping[str, str] = field(default_factory=dict)  # of all that is up, beside the usual
    known: dict[str, dict[str, str]] = field(default_factory=dict)  # what `undisturbed` has found

    @property
    def store(self) -> Store:
        return self.store_of("")

    def store_of(self, domain: str) -> Store:
        return Store(self.folder / "store", domain)

    @property
    def corpus(self) -> Path:
        return self.folder / "texts.jsonl"

    # --- up and down --------------------------------------------------------------------------------------------------

    def up(self, documents: int = 120, deployments: tuple[dict[str, Any], ...] = ()) -> None:
        """With `domain` and `again`, which run the same config when they are asked to, and others."""
        for name in ("flows", "tasks", "minimind"):
            (self.folder / name).symlink_to(PROJECT / name)
        write_corpus(self.corpus, self.sentences, documents)
        self.config("domain")
        tree = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
        plain = tree["deployments"][0] | {"schedules": []}
        plain["parameters"] = {"request": {"config": str(self.folder / "domain.yaml")}}
        asked = ({"name": "domain"}, {"name": "again"}, *deployments)
        deployed = [plain | deployment for deployment in asked]
        (self.folder / "prefect.yaml").write_text(yaml.safe_dump({"name": "system", "deployments": deployed}))
        ports = ("--prefect-port", str(self.prefect_port), "--mlflow-port", str(self.mlflow_port))
        done = self.command("up", "--profile", self.profile, *ports)
        assert done.returncode == 0, done.stderr

    def down(self) -> None:
        done = self.command("down")
        assert done.returncode == 0, done.stderr
        assert not (left := self.processes()), [words_of(process) for process in left]

    @contextmanager
    def while_up(self) -> Iterator["Installation"]:
        try:
            self.up()
            yield self
        finally:
            self.down()

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*MINIMIND, *words, "--store", str(self.store.root)], cwd=self.folder,
            env=environment(PREFECT_WORKER_QUERY_SECONDS="1", PYTHONPATH=str(PROJECT), **SECRETS, **self.environment),
            capture_output=True, text=True, timeout=300 * PATIENCE,
        )  # fmt: skip

    @contextmanager
    def second_worker(self, name: str) -> Iterator[psutil.Process]:
        """Polls the same work pool, as one on another machine would. A name serves once: Prefect remembers it."""
        with (self.folder / f"{name}.log").open("wb") as log:
            environment = self.place.client_environment() | {
                "MINIMIND_STORE": str(self.store.root),
                "PREFECT_WORKER_QUERY_SECONDS": "1",
                servers.UP_VARIABLE: str(self.store.root),
            }
            command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local", "--name", name]
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, env=os.environ | environment, start_new_session=True
            )
            try:
                wait_until(lambda: name in self.workers(), 60, f"worker {name}")
                yield psutil.Process(process.pid)
            finally:
                servers.stop([servers.Started.of(name, process.pid)])

    def workers(self) -> list[str]:
        found = self.ask("/work_pools/local/workers/filter", {})
        return [worker["name"] for worker in found if worker["status"] == "ONLINE"]

    def service(self, name: str) -> psutil.Process | None:
        """Its first process, where it is alive."""
        found = servers.running_servers(self.store.root).get(name)
        return found.process() if found else None

    def serving(self, name: str) -> list[psutil.Process]:
        """A service's processes, where it is up: not the runs of a worker, nor what the keeper has started again."""
        process = self.service(name)
        if process is None or name in ("worker", KEEPER):
            return [process] if process else []
        return [process, *children_of(process)]

    @property
    def place(self) -> Place:
        found = recorded_place(self.store.root)
        assert found, "nothing is up"
        return found

    @property
    def services(self) -> list[str]:
        return list(self.place.services())

    @property
    def mlflow_uri(self) -> str:
        """Of the database itself."""
        return self.place.profile.databases.mlflow_uri(self.place)

    def is_healthy(self, name: str) -> bool:
        """What stands still may count as well for a while: Prefect hears of a worker now and then."""
        process = self.service(name)
        if process is None or stands_still(process):
            return False
        return self.place.services()[name].is_healthy()

    def processes(self) -> list[psutil.Process]:
        """All processes that `up` has started, and theirs."""
        return [found for left in servers.left_over(self.store.root) if (found := left.process())]

    # --- domains and their runs ---------------------------------------------------------------------------------------

    def config(self, name: str, change: Callable[[dict[str, Any]], None] = lambda tree: None) -> Path:
        """The YAML of a domain on the installation's corpus."""
        tree = small_config(name, self.corpus)
        tree["training"]["budget"] = BUDGET
        change(tree)
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    def forget_builds(self) -> None:
        """The next run builds every stage, whatever domain it is of; servers, registered models and logs stay."""
        for name in REBUILT:
            subprocess.run(["rm", "-rf", str(self.store.root / name)], check=True)

    def ask(self, path: str, body: object) -> Any:
        """Of Prefect's API, which may be away for a while, or hang until the keeper sees it."""
        deadline = time.monotonic() + (120 + NOTICED_SECONDS) * PATIENCE
        while True:
            try:
                return self.place.prefect_api().post(path, body)
            except httpx.HTTPError as error:
                refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
                if refused or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def start_run(self, config: Path, deployment: str = "domain", **request: Any) -> str:
        """The id of a run that the worker will take up."""
        found = self.ask("/deployments/filter", {"deployments": {"name": {"any_": [deployment]}}})
        body = {"parameters": {"request": {"config": str(config), **request}}}
        return str(self.ask(f"/deployments/{found[0]['id']}/create_flow_run", body)["id"])

    def runs(self) -> list[dict[str, Any]]:
        """All, the planned ones too, in the order in which they are due; Prefect gives 200 at once."""
        found: list[dict[str, Any]] = []
        while page := self.ask("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC", "offset": len(found)}):
            found += page
        return found

    def run(self, run: str) -> dict[str, Any]:
        (found,) = self.ask("/flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return dict(found)

    def finish(self, run: str, seconds: float = 240.0) -> dict[str, Any]:
        """The run once it has ended."""
        wait_until(lambda: self.run(run)["state_type"] in ENDED, seconds, f"the end of run {run}")
        return self.run(run)

    def complete(self, config: Path, **request: Any) -> dict[str, Any]:
        ended = self.finish(self.start_run(config, **request))
        assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
        return ended

    def is_tried_again_later(self, run: str) -> bool:
        """Whether a stage of the run waits for its next try."""
        stages = self.ask("/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return any(stage["state_name"] == "AwaitingRetry" for stage in stages)

    def processes_of(self, run: str) -> "RunProcesses":
        """The processes of a run: Prefect's engine with our flow, and the training where there is one."""
        found = processes_of_runs().get(run, [])
        training = [process for process in found if "minimind.training" in words_of(process)]
        flow = [process for process in found if "prefect.engine" in " ".join(words_of(process))]
        return RunProcesses(flow, training)

    def slots(self) -> dict[str, int]:
        """Taken slots of every global concurrency limit, those of deployments among them."""
        limits = self.ask("/v2/concurrency_limits/filter", {})
        return {limit["name"]: limit["active_slots"] for limit in limits if limit["active_slots"]}

    # --- what it has built --------------------------------------------------------------------------------------------

    def published(self, domain: str) -> dict[str, str]:
        return published(self.store_of(domain))

    def undisturbed(self, until: str) -> dict[str, str]:
        """What a run to this stage publishes here without a fault: no domain's name is in it, the corpus's path is."""
        if until not in self.known:
            self.forget_builds()
            self.complete(self.config("undisturbed"), until=until)
            self.known[until] = self.published("undisturbed")
        return self.known[until]


@dataclass(frozen=True)
class RunProcesses:
    flow: list[psutil.Process]
    training: list[psutil.Process]

    @property
    def all(self) -> list[psutil.Process]:
        return [*self.flow, *self.training]
