"""What must hold after every fault."""

from minimind.registry.tracking import connect
from minimind.store import Store
from tests.flows.domain import published
from tests.system.fleeting import words_of
from tests.system.installation import ENDED, Installation
from tests.system.own_run import OwnRun
from tests.system.patience import wait_until

LEFT_SECONDS = 120.0  # no run is called running for longer that nobody runs, no slot is held, no process is left


def assert_all_is_well(installation: Installation, healthy_seconds: float = LEFT_SECONDS) -> None:
    """Every service answers within that time, no run is unended, no slot is taken, no process of a run is left."""
    for name in installation.services:
        wait_until(lambda name=name: installation.is_healthy(name), healthy_seconds, f"healthy {name}")
    wait_until(lambda: not unended(installation), LEFT_SECONDS, "end of every run")
    wait_until(lambda: not installation.slots(), LEFT_SECONDS, "return of all slots")
    wait_until(lambda: not orphans(installation), 30, "end of the processes of ended runs")
    wait_until(lambda: not installation.store.abandoned_runs(), 30, "the locks of ended runs to be taken away")


def unended(installation: Installation) -> list[str]:
    return [run["name"] for run in installation.runs() if run["state_type"] not in (*ENDED, "SCHEDULED")]


def orphans(installation: Installation) -> list[list[str]]:
    """Processes of trainings and flows, though no run is under way."""
    words = [words_of(process) for process in installation.processes()]
    return [line for line in words if "minimind.training" in line or "prefect.engine" in " ".join(line)]


def assert_no_process_is_left(run: OwnRun) -> None:
    """Of a `minimind run`, its server among them, within seconds of its end."""
    wait_until(lambda: not run.processes(), 30, "end of the run's processes", seen=lambda: f": {run.processes()}")
    assert not run.built.abandoned_runs()


def assert_nothing_is_left(run: OwnRun) -> None:
    """The same, and in its Prefect no run is unended, no slot is taken."""
    assert_no_process_is_left(run)
    assert run.in_prefect("select name from flow_run where state_type = 'COMPLETED'"), "nothing was looked through"
    ended = ", ".join(f"'{state}'" for state in ENDED)
    assert not run.in_prefect(f"select name from flow_run where state_type not in ({ended})"), "unended runs"
    assert not run.in_prefect("select name from concurrency_limit_v2 where active_slots > 0"), "taken slots"


def assert_nothing_lost(store: Store, mlflow_uri: str, undisturbed: dict[str, str]) -> None:
    """The stages have the bytes of an undisturbed run, MLflow each step once, and no run there is left open."""
    assert published(store) == undisturbed
    training = store.newest("training")
    if training is None:
        return
    steps, states = steps_in_mlflow(mlflow_uri, store.domain)
    assert steps == list(range(1, int(training.counts["steps"]) + 1)), "MLflow lacks steps, or has them twice"
    assert states == ["FINISHED"]


def steps_in_mlflow(uri: str, domain: str) -> tuple[list[int], list[str]]:
    """Steps whose loss has arrived in a domain's experiment, as often as they have; the states of its runs."""
    client = connect(uri)
    experiment = client.get_experiment_by_name(domain)
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    steps = [metric.step for run in runs for metric in client.get_metric_history(run.info.run_id, "training/tokens")]
    return sorted(steps), [run.info.status for run in runs]
