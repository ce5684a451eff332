"""Raw documents -> clean documents, split into train and holdout."""

from minimind.cleaning.build import CleaningInputs, build
from minimind.cleaning.parts import Resources
from minimind.store import Manifest
from tasks.parts import PrefectWorkers
from tasks.stage import Run, stage_task


@stage_task
def cleaning(run: Run) -> Manifest:
    """Removes duplicates and junk, keeps what it removed with the reason, and sets a holdout aside."""
    resources = Resources(workers=PrefectWorkers(run.runner))
    return build(run.config.cleaning, CleaningInputs(run.built["corpus"], resources), run.store)
