"""Sources in the config -> raw documents."""

from minimind.cleaning.text_functions import load_text_functions
from minimind.corpus.build import CorpusInputs, build
from minimind.store import Manifest
from tasks.parts import PrefectWorkers
from tasks.stage import Run, stage_task


@stage_task
def corpus(run: Run) -> Manifest:
    """Reads the sources that changed and publishes raw documents."""
    inputs = CorpusInputs(run.refresh, load_text_functions, PrefectWorkers(run.runner))
    return build(run.config.corpus, inputs, run.store)
