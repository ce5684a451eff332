"""Model + holdout -> metrics."""

from minimind.evaluation.build import EvaluationInputs, build
from minimind.store import Manifest
from tasks.stage import Run, stage_task


@stage_task
def evaluation(run: Run) -> Manifest:
    """Scores the model on the holdout beside two compressors, and draws samples from it."""
    return build(run.config.evaluation, EvaluationInputs(run.built["training"], run.built["cleaning"]), run.store)
