"""How much trainings of one config differ by their seed."""

from typing import Annotated, Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows.retrain import STAGE_TASKS, DomainRequest, RetrainRequest, start_run, working
from minimind.seeds import check_measurable
from tasks.cleaning import PARTS_AT_ONCE
from tasks.seeds import seed_spread

STAGES_BEFORE = STAGE_TASKS[:4]  # corpus to shards


class SeedsRequest(DomainRequest):
    """Which config, and how often."""

    seeds: Annotated[int, Field(ge=2, description="Trainings, the config's own seed among them")] = 3
    budget: Annotated[str | None, Field(description="Of each training; else the config's, 20 minutes at most")] = None


@flow(
    name="seeds",
    flow_run_name="{request.config}",
    persist_result=True,
    result_serializer="json",
    task_runner=ThreadPoolTaskRunner(max_workers=PARTS_AT_ONCE),
)
def seeds(request: SeedsRequest) -> dict[str, Any]:
    """The stages up to the shards, then a training for each seed."""
    domain = request.model_dump(include=set(DomainRequest.model_fields))
    run = start_run(RetrainRequest(**domain, until="training"))
    check_measurable(run.config)
    with working(run):
        for stage in STAGES_BEFORE:
            run.built[stage.name] = stage(run, return_state=True).result()
        return seed_spread(run, request.seeds, request.budget)
