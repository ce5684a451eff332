"""What must hold after every fault."""

from minimind.store import Store
from tests.system.installation import ENDED, Installation, wait_until

LEFT_SECONDS = 120.0  # no run is called running for longer that nobody runs, no slot is held, no process is left


def assert_all_is_well(installation: Installation) -> None:
    """Every service answers, no run is unended, no slot is taken, no process of a run is left."""
    for name in installation.services:
        wait_until(lambda name=name: installation.is_healthy(name), LEFT_SECONDS, f"healthy {name}")
    wait_until(lambda: not unended(installation), LEFT_SECONDS, "end of every run")
    wait_until(lambda: not installation.slots(), LEFT_SECONDS, "return of all slots")
    wait_until(lambda: not orphans(installation), 30, "end of the processes of ended runs")
    wait_until(lambda: not installation.store.abandoned_runs(), 30, "the locks of ended runs to be taken away")


def unended(installation: Installation) -> list[str]:
    return [run["name"] for run in installation.runs() if run["state_type"] not in (*ENDED, "SCHEDULED")]


def orphans(installation: Installation) -> list[list[str]]:
    """Processes of trainings and flows, though no run is under way."""
    words = [process.cmdline() for process in installation.processes()]
    return [line for line in words if "minimind.training" in line or "prefect.engine" in " ".join(line)]


def assert_nothing_lost(installation: Installation, domain: str, undisturbed: dict[str, str]) -> None:
    """The stages have the bytes of an undisturbed run, MLflow each step once, and no run there is left open."""
    assert installation.published(domain) == undisturbed
    training = Store(installation.store.root, domain).newest("training")
    if training is None:
        return
    steps, states = installation.steps_in_mlflow(domain)
    assert steps == list(range(1, int(training.counts["steps"]) + 1)), "MLflow lacks steps, or has them twice"
    assert states == ["FINISHED"]
