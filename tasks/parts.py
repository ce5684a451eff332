"""The parts of a stage as Prefect tasks, mapped over the task runner that the run names."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context, copy_context
from functools import cache
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext
from prefect.futures import as_completed

from minimind.digests import PYTHON, code_digests, sha256_of_json, version_of
from minimind.errors import UserError, WorkersLostError
from minimind.parts import IN_TURN, APart, Report, Result, silent
from tasks.runners import PARTS_AT_ONCE, opened

ROUNDS = 3  # in which a part whose worker has died is worked on again
# what pool, Dask and Ray raise for it, after what they try again themselves
LOST_WORKER = {
    "BrokenProcessPool", "KilledWorker", "FutureCancelledError", "CommClosedError",
    "WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "ObjectLostError", "OutOfMemoryError",
}  # fmt: skip
STAGES = ("corpus", "cleaning", "shards")  # that have parts
LIBRARIES = (
    "duckdb",
    "ftfy",
    "numpy",
    "phonenumbers",
    "py3langid",
    "pyarrow",
    "python-stdnum",
    "tiktoken",
    "tokenizers",
)

logger = logging.getLogger(__name__)


class PrefectWorkers:
    """Works on parts in a task runner that is opened for them, and closed when all are done."""

    at_once = PARTS_AT_ONCE

    def __init__(self, runner: str) -> None:
        self._runner = runner

    @property
    def elsewhere(self) -> bool:
        return self._runner != "threads"

    def each(
        self, work: Callable[[APart, Report], Result], parts: Sequence[APart], report: Report
    ) -> Iterator[tuple[APart, Result]]:
        if len(parts) < 2:
            yield from IN_TURN.each(work, parts, report)
            return
        waiting, total = list(parts), sum(part.size for part in parts)
        done: list[APart] = []
        for _ in range(ROUNDS):
            failures: list[tuple[APart, Exception]] = []
            for part, result in self._round(work, waiting, failures):
                done.append(part)
                report(sum(each.size for each in done), total, f"part {len(done)} of {len(parts)}")
                yield part, result
            raise_what_is_no_loss(failures)
            if not failures:
                return
            waiting = [part for part, _ in failures]
            logger.warning("the workers of %d parts have died (%s)", len(waiting), failures[0][1])
        raise WorkersLostError(
            f"the workers of {len(waiting)} of {len(parts)} parts died {ROUNDS} times, of {waiting[0].name} with "
            f"{failures[0][1]}; usually the machine had too little memory: look into its kernel log, give the workers "
            "more, and run again: finished stages are kept"
        )

    def _round(
        self,
        work: Callable[[APart, Report], Result],
        parts: Sequence[APart],
        failures: list[tuple[APart, Exception]],
    ) -> Iterator[tuple[APart, Result]]:
        """Every part with its result, as they come; those without one are added to `failures`."""
        with opened(self._runner) as tasks:
            context = context_that_travels()
            futures = {
                context.run(
                    tasks.submit, part_task, {"name": part.name, "work": work, "part": part, "made_with": made_with()}
                ): part
                for part in parts
            }
            for future in as_completed(list(futures)):
                try:
                    result = future.result()
                except Exception as error:  # noqa: BLE001 - raised again when no part is worked on any more
                    failures.append((futures[future], error))
                else:
                    yield futures[future], result


@task(name="part", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def part_task(name: str, work: Callable[[Any, Report], Any], part: Any, made_with: str) -> Any:
    """What `work` gives for the part, refused where code or libraries are others than those of the run."""
    check_same(made_with)
    return work(part, silent)


def check_same(expected: str) -> None:
    if made_with() != expected:
        raise UserError(
            "a worker has other code or other libraries than the run, whose bytes would depend on who made them; "
            "check out the same commit and install the same requirements.lock where the workers run"
        )


@cache
def made_with() -> str:
    """A digest of everything outside a part that shapes what it yields."""
    code = {stage: code_digests(stage) for stage in STAGES}
    return sha256_of_json([PYTHON, code, {name: version_of(name) for name in LIBRARIES}])


def raise_what_is_no_loss(failures: Sequence[tuple[Any, Exception]]) -> None:
    for _, error in failures:
        if not any(kind.__name__ in LOST_WORKER for kind in type(error).__mro__):
            raise error


@flow(name="parts")
def parts_flow() -> None:
    """Stands in for the flow of the run where a part is worked on; is never called."""


def context_that_travels() -> Context:
    """This context for tasks of the same flow run, without what Prefect would send along with each.

    The flow itself: its module imports MLflow and torch, and where a worker has loaded it from a file, no other process
    can import it. The stage's task: what it was given is the whole config, and a progress bar that cannot be pickled.
    """
    context, running = copy_context(), FlowRunContext.get()
    if running:
        travelling = running.model_copy(update={"flow": parts_flow, "parameters": {}})
        context.run(FlowRunContext.__var__.set, travelling)
    context.run(TaskRunContext.__var__.set, None)
    return context
