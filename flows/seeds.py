"""How much trainings of one config differ by their seed."""

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from flows.failures import BEFORE, begun, build_stage, failures_told
from flows.retrain import STAGE_TASKS, DomainRequest, RetrainRequest, start_run, working
from minimind.seeds import check_measurable
from tasks.registry import tracking_server
from tasks.seeds import seed_spread

STAGES_BEFORE = STAGE_TASKS[:4]  # corpus to shards


class SeedsRequest(DomainRequest):
    """Which config, and how often."""

    seeds: Annotated[int, Field(ge=2, description="Trainings, the config's own seed among them")] = 3
    budget: Annotated[
        str | None, Field(description="Of each training, no more than the config's; else that or 20m")
    ] = None


@flow(name="seeds", flow_run_name="{request.config}", persist_result=True, result_serializer="json")
@failures_told
def seeds(request: SeedsRequest) -> dict[str, Any]:
    """The stages up to the shards, then a training for each seed."""
    domain = request.model_dump(include=set(DomainRequest.model_fields))
    with begun(BEFORE):
        run = start_run(RetrainRequest(**domain, until="training"), tracking_server)
        check_measurable(run.config, request.budget)
    with working(run):
        for stage in STAGES_BEFORE:
            build_stage(run, stage)
        return seed_spread(run, request.seeds, request.budget)
