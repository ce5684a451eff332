"""What all stages share as Prefect tasks: progress, the state `Reused`, an artifact with the stage's figures."""

import logging
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from typing import Any
from uuid import UUID

from prefect import Task, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from minimind.store import Manifest, Report, number_in_words
from tasks.retries import RETRIES
from tasks.run import Run as Run

UPDATE_SECONDS = 2.0  # between two progress updates sent to the server
RETRY_SECONDS = 30

logger = logging.getLogger(__name__)


def stage_task(build: Callable[[Run], Manifest]) -> Task[Any, Any]:
    """A task named after its stage. It ends in the state `Reused` where the store already has the build.

    Prefect's own cache stays off: the store decides, and a result here is a manifest.
    """

    @task(
        name=build.__name__,
        task_run_name=build.__name__,
        description=build.__doc__,
        cache_policy=NO_CACHE,
        persist_result=True,
        result_serializer="json",
        **RETRIES,
    )
    def run_stage(run: Run) -> Any:
        progress = ProgressArtifact(run.config.name, build.__name__, run.store.report)
        manifest = build(replace(run, store=replace(run.store, report=progress)))
        progress.finish()
        create_markdown_artifact(key=f"{run.config.name}-{build.__name__}", markdown=describe(manifest))
        if manifest.reused:
            return Completed(name="Reused", message=f"found in the store as {manifest.fingerprint}", data=manifest)
        return manifest

    return run_stage


class ProgressArtifact:
    """Passes a stage's progress on, and shows it in Prefect as a bar; there is none for a stage that is reused."""

    def __init__(self, domain: str, stage: str, listener: Report) -> None:
        self.key = f"{domain}-{stage}-progress"
        self.listener = listener
        self.artifact: UUID | None = None
        self.sent_at = 0.0
        self.context = copy_context()  # of the task run: a library may report from a thread of its own

    def __call__(self, stage: str, done: float, total: float | None, text: str) -> None:
        self.listener(stage, done, total, text)
        if total and time.monotonic() - self.sent_at >= UPDATE_SECONDS:
            self._send(min(100.0, 100 * done / total), text)

    def finish(self) -> None:
        if self.artifact:
            self._send(100.0, "done")

    def _send(self, percent: float, text: str) -> None:
        """A server that is away for a while must not stop a training: the bar waits."""
        self.sent_at = time.monotonic()
        try:
            self._update(percent, text)
        except Exception as error:  # noqa: BLE001 - whatever Prefect's client raises
            self.sent_at += RETRY_SECONDS
            logger.warning("Prefect takes no progress (%s); trying again in %d s", error, RETRY_SECONDS)

    def _update(self, percent: float, text: str) -> None:
        if self.artifact is None:
            created = self.context.run(create_progress_artifact, percent, key=self.key, description=text)
            self.artifact = created if isinstance(created, UUID) else None
        else:
            self.context.run(update_progress_artifact, self.artifact, progress=percent, description=text)


def describe(manifest: Manifest) -> str:
    """The figures of a build as a Markdown table."""
    state = "reused" if manifest.reused else f"built in {manifest.seconds:,.1f} s"
    counts = ((name.replace("_", " "), number_in_words(value)) for name, value in manifest.counts.items())
    rows = "\n".join(f"| {name} | {value} |" for name, value in counts)
    return f"**{manifest.stage}** `{manifest.fingerprint}`, {state}\n\n| | |\n|---|---|\n{rows}\n\n`{manifest.path}`\n"
