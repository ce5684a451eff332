"""What a failed run says of itself: one text with the stage, the cause, and what to do, as the state's message.

Prefect's pages, `minimind status` and the automations show that message.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec

import httpx
from prefect import Task
from prefect.client.schemas.objects import State
from prefect.states import Failed

from minimind.errors import TrainingError, TrainingInterruptedError, UserError
from minimind.masking import masked
from tasks.run_labels import STAGE, label_run
from tasks.stage import Run

logger = logging.getLogger("minimind.flows")  # below the logger that Prefect shows

BEFORE = "before the first stage"

P = ParamSpec("P")


class StageError(Exception):
    """A stage failed; raised from the failure itself."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        super().__init__(stage)


def build_stage(run: Run, stage: Task[Any, Any]) -> None:
    """Builds or finds a stage, and adds it to `run.built`. Raises StageError."""
    with begun(stage.name):
        run.built[stage.name] = stage(run, return_state=True).result()


@contextmanager
def begun(stage: str) -> Iterator[None]:
    """What fails within is a StageError, and what is killed within is told as having begun it."""
    label_run(STAGE, stage)
    try:
        yield
    except Exception as error:
        raise StageError(stage) from error


def failures_told(flow: Callable[P, Any]) -> Callable[P, Any]:
    """A flow that ends as Failed with a message for people; who calls it is raised the failure itself, as ever."""

    @wraps(flow)
    def told(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return flow(*args, **kwargs)
        except StageError as failure:
            return as_state(failure.__cause__ or failure, failure.stage)
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes the run's state
            return as_state(error)

    return told


def as_state(error: BaseException, stage: str = "") -> State[Any]:
    if not isinstance(error, UserError | httpx.TransportError):
        logger.error("%s", type(error).__name__, exc_info=error)
    return Failed(message=masked(describe(error, stage)), data=error)


def describe(error: BaseException, stage: str = "") -> str:
    """The message of a failed run: `training: what was found, what to change`; not every flow has stages."""
    where = f"{stage}: " if stage else ""
    match error:
        case UserError() | TrainingInterruptedError():
            return f"{where}{error}"
        case TrainingError():
            return f"{where}{error}\nRun it again: it goes on from its last checkpoint; finished stages are kept."
        case httpx.TransportError():  # Prefect's client alone is made of httpx
            return f"{where}Prefect's server went away ({error}).\nRun it again: finished stages are kept."
    return (
        f"{where}{type(error).__name__}: {error}\nThis is no mistake in the config: the traceback stands in the run's "
        "log. Run it again, as finished stages are kept; if it fails again, report it."
    )
