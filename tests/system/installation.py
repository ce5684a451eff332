"""What `minimind up` starts, for one store in a temporary folder; runs on it, and looks at what they leave."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from flows import servers
from flows.dead_runs import processes_of_runs
from flows.profiles import Place, recorded_place
from minimind.store import STAGES, Store
from tests.flows.domain import MINIMIND, PROJECT, environment, published, small_config, write_corpus

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
Undisturbed = Callable[[str], dict[str, str]]  # last stage -> <stage>/<file> -> sha256
REBUILT = (*STAGES, "downloads", "texts", "tracking")
BUDGET = "150k tokens"
PATIENCE = float(os.environ.get("MINIMIND_PATIENCE", "1"))  # a factor on every time limit, for busy machines
SECRETS = {"MINIMIND_TEST_TOKEN": "planted-8f3b/7c@1"}  # in the environment of all that is up


@dataclass
class Installation:
    """Servers, a worker and a keeper of a store of its own; every domain is deployed as `domain`."""

    folder: Path
    sentences: Callable[[int, int], str]
    profile: str = "local"
    prefect_port: int = field(default_factory=servers.free_port)
    mlflow_port: int = field(default_factory=servers.free_port)

    @property
    def store(self) -> Store:
        return Store(self.folder / "store", "")

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
        assert not (left := self.processes()), [process.cmdline() for process in left]

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*MINIMIND, *words, "--store", str(self.store.root)], cwd=self.folder,
            env=environment(PREFECT_WORKER_QUERY_SECONDS="1", PYTHONPATH=str(PROJECT), **SECRETS),
            capture_output=True, text=True, timeout=300 * PATIENCE,
        )  # fmt: skip

    @contextmanager
    def second_worker(self) -> Iterator[None]:
        """Polls the same work pool, as one on another machine would."""
        with (self.folder / "second.log").open("wb") as log:
            environment = self.place.client_environment() | {
                "MINIMIND_STORE": str(self.store.root),
                "PREFECT_WORKER_QUERY_SECONDS": "1",
                servers.UP_VARIABLE: str(self.store.root),
            }
            command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local", "--name", "second"]
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, env=os.environ | environment, start_new_session=True
            )
            try:
                wait_until(lambda: len(self.workers()) == 2, 60, "second worker")
                yield
            finally:
                servers.stop([servers.Started.of("second", process.pid)])

    def workers(self) -> list[str]:
        found = self.ask("/work_pools/local/workers/filter", {})
        return [worker["name"] for worker in found if worker["status"] == "ONLINE"]

    def service(self, name: str) -> psutil.Process | None:
        """Its first process, where it is alive."""
        found = servers.running_servers(self.store.root).get(name)
        return found.process() if found else None

    @property
    def place(self) -> Place:
        found = recorded_place(self.store.root)
        assert found, "nothing is up"
        return found

    @property
    def services(self) -> list[str]:
        return list(self.place.services())

    def is_healthy(self, name: str) -> bool:
        return self.service(name) is not None and self.place.services()[name].is_healthy()

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
        """Of Prefect's API, which may be away for a while."""
        deadline = time.monotonic() + 120 * PATIENCE
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
        return published(Store(self.store.root, domain))

    def steps_in_mlflow(self, domain: str) -> tuple[list[int], list[str]]:
        """Steps whose loss has arrived in a domain's experiment, as often as they have; the states of its runs."""
        from minimind.registry.tracking import connect

        client = connect(self.place.profile.databases.mlflow_uri(self.place))
        experiment = client.get_experiment_by_name(domain)
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
        steps = [
            metric.step for run in runs for metric in client.get_metric_history(run.info.run_id, "training/tokens")
        ]
        return sorted(steps), [run.info.status for run in runs]


@dataclass(frozen=True)
class RunProcesses:
    flow: list[psutil.Process]
    training: list[psutil.Process]

    @property
    def all(self) -> list[psutil.Process]:
        return [*self.flow, *self.training]


def words_of(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def wait_until(is_so: Callable[[], object], seconds: float, what: str, pause: float = 0.2) -> float:
    """Seconds until it was so; fails with `what` where it is not in time."""
    seconds, began = seconds * PATIENCE, time.monotonic()
    while not is_so():
        assert time.monotonic() - began < seconds, f"no {what} within {seconds:g} s"
        time.sleep(pause)
    return time.monotonic() - began
