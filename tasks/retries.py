"""When a task is tried again: where no person waits, and only for an error that may pass.

A network or a server that did not answer may do so in a minute (`PassingError`). What the config, the data, the device
or the training itself is at fault for fails in the same way again, and is told at once. Downloads and MLflow's client
have had tries of their own, seconds apart, by then; these are minutes apart, for an outage in the night. A person in
front of `minimind run` is told at once, too.
"""

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import deployment

from minimind.errors import PassingError

DELAY_SECONDS = [30, 120, 480]
JITTER = 0.5  # up to half as long again, so that runs which failed together do not come back together


def may_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether to try again what ended in this state."""
    return deployment.id is not None and isinstance(state.data, PassingError)


RETRIES: dict[str, Any] = {
    "retries": len(DELAY_SECONDS),
    "retry_delay_seconds": DELAY_SECONDS,
    "retry_jitter_factor": JITTER,
    "retry_condition_fn": may_pass,
}
