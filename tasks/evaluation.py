"""Model + holdout -> metrics."""

from minimind.evaluation.build import EvaluationInputs, build
from minimind.store import Manifest
from tasks.parent import parent_text
from tasks.stage import Run, stage_task


@stage_task
def evaluation(run: Run) -> Manifest:
    """Scores the model on the holdout beside two compressors, and draws samples from it."""
    training, shards, cleaning = (run.built[stage] for stage in ("training", "shards", "cleaning"))
    inputs = EvaluationInputs(training, shards, cleaning, parent_text(run))
    return build(run.config.evaluation, inputs, run.store)
