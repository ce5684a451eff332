"""Model + evaluation -> registered version, champion or challenger."""

from minimind.registry.build import RegistryInputs, build
from minimind.store import Manifest
from tasks.stage import Run, stage_task


@stage_task
def registry(run: Run) -> Manifest:
    """Registers the model in MLflow and decides whether it replaces the champion."""
    inputs = RegistryInputs(run.config, run.built, run.tracking_uri)
    return build(run.config.registry, inputs, run.store)
