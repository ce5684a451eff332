"""How fast this machine trains by a plan: a short run of the process that will train, before it starts."""

import json
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from minimind.training.launch import run_training_process
from minimind.training.plan import Options, Plan
from minimind.training.process import RunFolder

EVALUATED_SHARE = 0.3  # of the tokens trained, over all evaluations: about a tenth of the time
MEASURED_SHARE = 0.06  # of the budget that the measured steps take; with the process around them, below a tenth
MAX_MEASURED_SECONDS = 45.0  # the same, however long the budget
SPARE_SHARE = 0.005  # of a time budget: metrics, the looks inside, small disturbances


class Speed(BaseModel):
    """Seconds, as the training process took them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start_seconds: float  # imports, the model, what the first step compiles or allocates, the export; once
    step_seconds: float
    window_seconds: float  # to score one window of the holdout
    checkpoint_seconds: float  # that training stands still for one


def measure_speed(plan: Plan, options: Options, seconds: float, folder: Path, watch: Callable[[], None]) -> Speed:
    """Measured for about `seconds`, or two steps, by the plan and in the folder given, which is removed.

    Compiled code is made by a first short run: training will find it in the cache.
    """
    with measuring_folder(folder) as run:
        plan.write(run.plan)
        options.write(run.options)
        for measured in (0.0, seconds) if plan.compiled else (seconds,):
            run_training_process(run, plan, watch, ("--measure", str(measured)))
        return Speed.model_validate(json.loads(run.summary.read_bytes()))


@contextmanager
def measuring_folder(path: Path) -> Iterator[RunFolder]:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield RunFolder(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def with_steps(plan: Plan, steps: int, windows: int) -> Plan:
    """The plan with its steps, and with as much of the holdout's `windows` in each evaluation as they allow."""
    planned = plan.model_copy(update={"steps": steps})
    allowed = round(EVALUATED_SHARE * planned.tokens / plan.evaluations / plan.sequence_length)
    evaluation_windows = min(windows, max(allowed, plan.micro_batch_sequences))
    return planned.model_copy(update={"evaluation_windows": evaluation_windows})


def expected_seconds(plan: Plan, speed: Speed, checkpoint_seconds: float) -> float:
    """From the start of the training process to its model, evaluations and a checkpoint each so often included."""
    evaluated = min(plan.evaluations, plan.steps) * plan.evaluation_windows
    working = plan.steps * speed.step_seconds + evaluated * speed.window_seconds
    return speed.start_seconds + working * (1 + speed.checkpoint_seconds / checkpoint_seconds)


def steps_within(seconds: float, plan: Plan, windows: int, speed: Speed, checkpoint_seconds: float) -> int:
    """The most steps that end in time; 0 if not even one does."""

    def needed(steps: int) -> float:
        return expected_seconds(with_steps(plan, steps, windows), speed, checkpoint_seconds)

    most = int(seconds / speed.step_seconds)
    return bisect_right(range(1, most + 1), seconds * (1 - SPARE_SHARE), key=needed)
