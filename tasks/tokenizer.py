"""Clean documents -> tokenizer."""

from minimind.store import Manifest
from minimind.tokenizer.build import TokenizerInputs, build
from tasks.parent import kept_tokenizer
from tasks.stage import Run, stage_task


@stage_task
def tokenizer(run: Run) -> Manifest:
    """Trains a byte-level BPE tokenizer on the training documents, or keeps one."""
    return build(run.config.tokenizer, TokenizerInputs(run.built["cleaning"], kept_tokenizer(run)), run.store)
