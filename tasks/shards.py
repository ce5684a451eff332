"""Clean documents + tokenizer -> token shards."""

from minimind.shards.build import ShardsInputs, build
from minimind.store import Manifest
from tasks.stage import Run, stage_task


@stage_task
def shards(run: Run) -> Manifest:
    """Encodes train and holdout documents into memory-mapped shards."""
    return build(run.config.shards, ShardsInputs(run.built["cleaning"], run.built["tokenizer"]), run.store)
