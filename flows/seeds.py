"""How much trainings of one config differ by their seed."""

from typing import Annotated, Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict, Field

from flows.retrain import STAGE_TASKS, RetrainRequest, start_run
from minimind.seeds import check_measurable
from tasks.cleaning import PARTS_AT_ONCE
from tasks.seeds import seed_spread

STAGES_BEFORE = STAGE_TASKS[:4]  # corpus to shards


class SeedsRequest(BaseModel):
    """Which config, and how often. Prefect shows this as a form and refuses what does not fit."""

    model_config = ConfigDict(extra="forbid")

    config: Annotated[str, Field(description="The domain's YAML, for example configs/demo.yaml")]
    overrides: Annotated[list[str], Field(description="section.key=value, one an entry")] = []
    sources: Annotated[list[str], Field(description="Globs of local files that replace the config's sources")] = []
    seeds: Annotated[int, Field(ge=2, description="Trainings, the config's own seed among them")] = 3
    budget: Annotated[str | None, Field(description="Of each training; else the config's, 20 minutes at most")] = None
    store: Annotated[str | None, Field(description="The store's folder; else MINIMIND_STORE, else ./store")] = None


@flow(
    name="seeds",
    flow_run_name="{request.config}",
    persist_result=True,
    result_serializer="json",
    task_runner=ThreadPoolTaskRunner(max_workers=PARTS_AT_ONCE),
)
def seeds(request: SeedsRequest) -> dict[str, Any]:
    """The stages up to the shards, then a training for each seed."""
    run = start_run(
        RetrainRequest(
            config=request.config, overrides=request.overrides, sources=request.sources, until="training",
            store=request.store,
        )
    )  # fmt: skip
    check_measurable(run.config)
    with run.store.in_use():
        for stage in STAGES_BEFORE:
            run.built[stage.name] = stage(run, return_state=True).result()
        return seed_spread(run, request.seeds, request.budget)
