"""Shards -> model, in a process of its own whose metrics go to MLflow as they appear."""

from minimind.registry.forwarding import MetricForwarder
from minimind.store import Manifest
from minimind.training.build import TrainingInputs, build
from tasks.parent import starting_model
from tasks.slot import queueing
from tasks.stage import Run, stage_task


@stage_task
def training(run: Run) -> Manifest:
    """Trains the model, or continues from the last checkpoint; one at a time where runs share a slot."""
    forwarder = MetricForwarder(run.store, run.config.registry.experiment, run.tracking_uri)
    inputs = TrainingInputs(run.built["shards"], run.built["tokenizer"], forwarder.forward, starting_model(run))
    manifest = build(run.config.training, inputs, queueing(run))
    forwarder.finish(manifest.path, manifest.fingerprint)
    return manifest
