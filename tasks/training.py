"""Shards -> model, in a process of its own whose metrics go to MLflow as they appear."""

from dataclasses import replace
from functools import partial

from minimind.registry.forwarding import MetricForwarder
from minimind.store import Manifest
from minimind.training.build import TrainingInputs, build
from tasks.parent import starting_model
from tasks.slot import held
from tasks.stage import Run, stage_task


@stage_task
def training(run: Run) -> Manifest:
    """Trains the model, or continues from the last checkpoint; one at a time where runs share a slot."""
    forwarder = MetricForwarder(run.store, run.config.registry.experiment, run.tracking_uri)
    inputs = TrainingInputs(run.built["shards"], run.built["tokenizer"], forwarder.forward, starting_model(run))
    store = replace(run.store, turn=partial(held, run.slot, run.store.report))
    manifest = build(run.config.training, inputs, store)
    forwarder.finish(manifest.path, manifest.fingerprint)
    return manifest
