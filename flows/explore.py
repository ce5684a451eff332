"""A folder of text, looked at for some minutes: the audit, a tiny model, and what to make of the two."""

import logging
from dataclasses import replace
from typing import Annotated, Any

import yaml
from prefect import flow
from prefect.runtime import flow_run
from pydantic import BaseModel, Field

from flows.failures import BEFORE, StageError, begun, build_stage, failures_told
from flows.forms import FORM
from flows.new_config import yaml_of
from flows.progress import listener
from flows.retrain import Overrides, Refresh, Runner, SlotName
from flows.settings import slot_name, store_root
from minimind.cleaning.checks import check_section
from minimind.config import Config, validate_config
from minimind.errors import CorpusTooSmallError
from minimind.explore.explored import as_explored, seen_in, with_any_holdout
from minimind.explore.verdict import Verdict, judged, refused
from minimind.explore.yaml_text import with_overrides, with_values
from minimind.store import Store
from minimind.training.device import find_device
from minimind.training.precision import choose_precision
from tasks.cleaning import cleaning
from tasks.corpus import corpus
from tasks.explore import explore as explore_task
from tasks.explore import explored_page
from tasks.run import Run
from tasks.runners import runner_name
from tasks.shards import shards
from tasks.tokenizer import tokenizer


class ExploreRequest(BaseModel):
    """What to look at. Prefect shows this as a form and refuses what does not fit."""

    model_config = FORM

    target: Annotated[str, Field(description="A folder, a file, a glob, an address; or a domain's YAML")]
    budget: Annotated[str, Field(description="Of three small trainings together, as training.budget")] = "3m"
    name: Annotated[str | None, Field(description="Of the domain; else made of the folder's name")] = None
    overrides: Overrides = []
    refresh: Refresh = False
    store: Annotated[str | None, Field(description="The store's folder; else MINIMIND_STORE, else ./store")] = None
    runner: Runner = None
    slot: SlotName = None


@flow(name="explore", flow_run_name="{request.target}", persist_result=True, result_serializer="json")
@failures_told
def explore(request: ExploreRequest) -> dict[str, Any]:
    """The audit; then, if there is enough text, three small trainings; then the page."""
    logging.getLogger("minimind").setLevel(logging.INFO)  # Prefect attaches its handler and leaves the level alone
    with begun(BEFORE):
        text, is_new = yaml_of(request.target, request.name, request.overrides)
        config = checked(text, request.target)
        run = start_run(request, config)
    with run.store.in_use(flow_run.id):
        build_stage(run, corpus)
        if is_new:
            text = with_overrides(with_values(text, seen_in(run.built["corpus"])), request.overrides)
            config = checked(text, request.target)
            run = replace(run, config=as_explored(config, request.budget))
        verdict = look(run, config)
        text = with_values(text, verdict.values or {})
        page = explored_page(run, config, verdict, text)
    return {
        "name": config.name,
        "verdict": verdict.as_json(),
        "counts": {stage: manifest.counts for stage, manifest in run.built.items()},
        "trials": run.built["explore"].details["trials"] if "explore" in run.built else [],
        "stages": {stage: {"reused": one.reused, "path": str(one.path)} for stage, one in run.built.items()},
        "page": str(page),
        "config": str(page.with_name(f"{config.name}.yaml")),
    }


def start_run(request: ExploreRequest, config: Config) -> Run:
    """Of MLflow an exploration needs nothing."""
    store = Store(store_root(request.store), config.name, listener.get())
    runner, slot = runner_name(request.runner), slot_name(request.slot)
    return Run(as_explored(config, request.budget), store, "", request.refresh, runner=runner, slot=slot)


def look(run: Run, config: Config) -> Verdict:
    """Builds what can be built. A corpus too small to be trained on is audited, and that said."""
    try:
        for stage in (cleaning, tokenizer, shards, explore_task):
            build_stage(run, stage)
    except StageError as failure:
        if not isinstance(failure.__cause__, CorpusTooSmallError):
            raise
        if "cleaning" not in run.built:
            build_stage(replace(run, config=with_any_holdout(run.config)), cleaning)
        return refused(config, run.built, str(failure.__cause__))
    return judged(config, run.config.training, run.built)


def checked(text: str, target: str) -> Config:
    """Raises ConfigError for what a run would refuse before it begins."""
    config = validate_config(yaml.safe_load(text), target)
    check_section(config.cleaning)
    choose_precision(config.training.precision, find_device(config.training.device))
    return config
