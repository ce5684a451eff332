"""Model + evaluation -> registered version, champion or challenger; the decision is an event of Prefect."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from minimind.registry import tracking
from minimind.registry.build import RegistryInputs, build
from minimind.store import Manifest
from tasks.retries import RETRIES
from tasks.stage import Run, stage_task


@task(name="tracking server", task_run_name="tracking server", cache_policy=NO_CACHE, persist_result=False, **RETRIES)
def tracking_server(uri: str, root: Path) -> None:
    """Makes sure that MLflow answers, before anything is built."""
    tracking.initialise(uri, root)


@stage_task
def registry(run: Run) -> Manifest:
    """Registers the model in MLflow and decides whether it replaces the champion."""
    inputs = RegistryInputs(run.config, run.built, run.tracking_uri)
    return build(run.config.registry, inputs, run.store, announce)


def announce(details: Mapping[str, Any]) -> None:
    """`minimind.model.promoted` or `minimind.model.refused` of the resource `minimind.model.NAME`, for automations."""
    decision = details["decision"]
    if decision["outcome"] == "already_champion":
        return
    emit_event(
        event=f"minimind.model.{'promoted' if decision['outcome'] in ('first', 'promoted') else 'refused'}",
        resource={
            "prefect.resource.id": f"minimind.model.{details['name']}",
            "prefect.resource.name": details["name"],
            "minimind.version": details["version"],
        },
        payload={"uri": details["uri"], "version": details["version"], "decision": decision},
    )
