"""What a soak does to an installation, at random."""

import json
import random
from collections.abc import Callable

import psutil

from tests.system.fleeting import kill, words_of
from tests.system.installation import Installation


def change_corpus(installation: Installation, chance: random.Random) -> bool:
    """Another text in one document's place, every other time; whether it was so."""
    if chance.random() < 0.5:
        return False
    rows = [json.loads(line) for line in installation.corpus.read_text().splitlines()]
    rows[chance.randrange(len(rows))]["text"] = installation.sentences(chance.randrange(10**6), 200)
    beside = installation.corpus.with_suffix(".new")
    beside.write_text("".join(json.dumps(row) + "\n" for row in rows))
    beside.replace(installation.corpus)
    return True


def kill_service(name: str) -> Callable[[Installation], bool]:
    return lambda installation: kill_found(installation.serving(name))


def kill_processes(*words: str) -> Callable[[Installation], bool]:
    """Those whose command line has one of the words; none may be there at the moment."""

    def hurt(installation: Installation) -> bool:
        lines = [(process, " ".join(words_of(process))) for process in installation.processes()]
        return kill_found([process for process, line in lines if any(word in line for word in words)])

    return hurt


def kill_found(processes: list[psutil.Process]) -> bool:
    kill(processes)
    return bool(processes)


def cancel(installation: Installation) -> bool:
    running = [run for run in installation.runs() if run["state_type"] == "RUNNING"]
    for run in running:
        installation.ask(f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})
    return bool(running)


def kill_worker_and_flow(installation: Installation) -> bool:
    """Whether one of both was there."""
    return any([kill_service("worker")(installation), kill_processes("prefect.engine")(installation)])


FAULTS: tuple[tuple[str, Callable[[Installation], bool]], ...] = (
    ("training killed", kill_processes("minimind.training")),
    ("flow killed", kill_processes("prefect.engine")),
    ("worker killed", kill_service("worker")),
    ("worker and flow killed", kill_worker_and_flow),
    ("Prefect killed", kill_service("Prefect")),
    ("MLflow killed", kill_service("MLflow")),
    ("cancelled", cancel),
)
