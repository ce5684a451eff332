"""The faults: what is broken, and how a run is caught in the middle of a stage for it.

A run is caught by stopping its processes (SIGSTOP) as soon as the stage is seen at work: no sleep guesses when that is.
The fault then meets a frozen run, and only afterwards it is let go on, or found dead.
"""

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.system.fleeting import kill, send
from tests.system.installation import NOTICED_SECONDS, Installation, RunProcesses
from tests.system.patience import wait_until

HANGING = {"Prefect server hangs": "Prefect", "MLflow server hangs": "MLflow", "worker hangs": "worker"}
UNTIL = {"cleaning": "shards", "training": "training"}  # the stage in which a run is hurt -> the last that it is to run


@dataclass(frozen=True)
class Caught:
    """A run whose processes stand still in the middle of a stage."""

    installation: Installation
    run: str
    processes: RunProcesses
    step: int  # of the training's metrics
    checkpoint: int  # the last whole one's step

    def let_go(self) -> None:
        send(self.processes.all, signal.SIGCONT)

    def kill_service(self, name: str) -> None:
        """With the processes that serve for it."""
        serving = self.installation.serving(name)
        assert serving, f"{name} is not up"
        kill(serving)

    def freeze_service(self, name: str) -> None:
        """It lives, and says nothing any more."""
        serving = self.installation.serving(name)
        assert serving, f"{name} is not up"
        send(serving, signal.SIGSTOP)


@dataclass(frozen=True)
class Fault:
    name: str
    inject: Callable[[Caught], None]
    ends_as: str = "COMPLETED"  # Prefect's state of the run that it met
    moments: tuple[str, ...] = tuple(UNTIL)
    noticed_seconds: float = 0.0  # that the keeper may take to see it

    @property
    def run_goes_on(self) -> bool:
        return self.ends_as == "COMPLETED"


def cancel(caught: Caught) -> None:
    caught.installation.ask(f"/flow_runs/{caught.run}/set_state", {"state": {"type": "CANCELLING"}})


def hangs(name: str, service: str) -> Fault:
    """In training alone: five minutes each."""
    return Fault(name, lambda it: it.freeze_service(service), moments=("training",), noticed_seconds=NOTICED_SECONDS)


FAULTS = (
    Fault("training process killed", lambda it: kill(it.processes.training), "FAILED", ("training",)),
    Fault("flow killed", lambda it: kill(it.processes.flow), "CRASHED"),
    Fault("worker killed", lambda it: it.kill_service("worker")),
    Fault("worker and flow killed", lambda it: kill_worker_and_flow(it), "CRASHED"),
    Fault("Prefect server killed", lambda it: it.kill_service("Prefect")),
    Fault("MLflow server killed", lambda it: it.kill_service("MLflow")),
    Fault("keeper, worker and flow killed", lambda it: kill_with_keeper(it), "CRASHED"),
    Fault("cancelled by the API", cancel, "CANCELLED"),
    *(hangs(name, service) for name, service in HANGING.items()),
)


def kill_worker_and_flow(caught: Caught) -> None:
    """The worker first: nobody may tell the server how the flow ended."""
    caught.kill_service("worker")
    kill(caught.processes.flow)


def kill_with_keeper(caught: Caught) -> None:
    """Nobody is left who could notice, until a person says `minimind up` again."""
    caught.kill_service("keeper")
    kill_worker_and_flow(caught)
    done = caught.installation.command("up")
    assert done.returncode == 0, done.stderr


def catch(installation: Installation, run: str, stage: str) -> Caught:
    """Stops a run in the middle of a stage: cleaning at work, or a training with a whole checkpoint."""
    root = installation.store.root
    wait_until(lambda: installation.processes_of(run).flow, 120, f"process of run {run}")
    (flow,) = installation.processes_of(run).flow
    wait_until(lambda: is_at(root, stage), 120, f"{stage} at work", pause=0.005)
    flow.send_signal(signal.SIGSTOP)
    processes = installation.processes_of(run)
    send(processes.training, signal.SIGSTOP)
    assert bool(processes.training) == (stage == "training")
    assert building(root, stage), f"{stage} was over before the run could be stopped"
    folder = building(root, "training")
    return Caught(installation, run, processes, last_step(folder), last_checkpoint(folder))


def is_at(root: Path, stage: str) -> bool:
    """Whether a stage is being built: cleaning, or a training past a quarter, by its last whole checkpoint."""
    folder = building(root, stage)
    if folder is None or stage != "training":
        return folder is not None
    checkpoint = last_checkpoint(folder)
    return checkpoint > 0 and checkpoint >= json.loads((folder / "plan.json").read_text())["steps"] / 4


def building(root: Path, stage: str) -> Path | None:
    """The folder in which a stage is being built."""
    return next((root / stage).glob(".building-*"), None)


def last_step(folder: Path | None) -> int:
    """The last step in the metrics; 0 where there is none."""
    try:
        lines = (folder / "metrics.jsonl").read_text().splitlines() if folder else []
    except FileNotFoundError:
        return 0
    return int(json.loads(lines[-1])["step"]) if lines else 0


def last_checkpoint(folder: Path | None) -> int:
    """The step of the last whole checkpoint; 0 where there is none."""
    found = sorted((folder / "checkpoints").glob("step-*.json")) if folder else []
    return int(found[-1].stem.removeprefix("step-")) if found else 0
