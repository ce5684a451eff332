"""Clean documents + tokenizer -> token shards."""

from minimind.shards.build import ShardsInputs, build
from minimind.store import Manifest
from tasks.parent import old_documents
from tasks.parts import PrefectWorkers
from tasks.stage import Run, stage_task


@stage_task
def shards(run: Run) -> Manifest:
    """Encodes train and holdout documents into memory-mapped shards."""
    workers = PrefectWorkers(run.runner)
    inputs = ShardsInputs(run.built["cleaning"], run.built["tokenizer"], old_documents(run), workers)
    return build(run.config.shards, inputs, run.store)
