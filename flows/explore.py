"""A folder of text, looked at for some minutes: the audit, a tiny model, and what to make of the two."""

import logging
from typing import Annotated, Any

import yaml
from prefect import flow
from pydantic import BaseModel, ConfigDict, Field

from flows.new_config import yaml_of
from flows.progress import listener
from flows.settings import store_root
from minimind.cleaning.checks import check_section
from minimind.config import Config, validate_config
from minimind.errors import CorpusTooSmallError
from minimind.explore.explored import as_explored, seen_in, with_any_holdout
from minimind.explore.verdict import Verdict, judged, refused
from minimind.explore.yaml_text import with_values
from minimind.store import Store
from minimind.training.device import find_device
from minimind.training.precision import choose_precision
from tasks.cleaning import cleaning
from tasks.corpus import corpus
from tasks.explore import explore as explore_task
from tasks.explore import explored_page
from tasks.run import Run
from tasks.shards import shards
from tasks.tokenizer import tokenizer


class ExploreRequest(BaseModel):
    """What to look at. Prefect shows this as a form and refuses what does not fit."""

    model_config = ConfigDict(extra="forbid")

    target: Annotated[str, Field(description="A folder, a file, a glob, an address; or a domain's YAML")]
    budget: Annotated[str, Field(description="Of three small trainings together, as training.budget")] = "3m"
    name: Annotated[str | None, Field(description="Of the domain; else made of the folder's name")] = None
    store: Annotated[str | None, Field(description="The store's folder; else MINIMIND_STORE, else ./store")] = None


@flow(name="explore", flow_run_name="{request.target}", persist_result=True, result_serializer="json")
def explore(request: ExploreRequest) -> dict[str, Any]:
    """The audit; then, if there is enough text, three small trainings; then the page."""
    logging.getLogger("minimind").setLevel(logging.INFO)  # Prefect attaches its handler and leaves the level alone
    text, is_new = yaml_of(request.target, request.name)
    config = checked(text, request.target)
    root = store_root(request.store)
    run = Run(as_explored(config, request.budget), Store(root, config.name, listener.get()), "")
    with run.store.in_use():
        run.built["corpus"] = corpus(run, return_state=True).result()
        if is_new:
            text = with_values(text, seen_in(run.built["corpus"]))
            config = checked(text, request.target)
            run = Run(as_explored(config, request.budget), run.store, "", built=run.built)
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


def look(run: Run, config: Config) -> Verdict:
    """Builds what can be built. A corpus too small to be trained on is audited, and that said."""
    try:
        for stage in (cleaning, tokenizer, shards, explore_task):
            run.built[stage.name] = stage(run, return_state=True).result()
    except CorpusTooSmallError as error:
        if "cleaning" not in run.built:
            smaller = Run(with_any_holdout(run.config), run.store, "", built=run.built)
            run.built["cleaning"] = cleaning(smaller, return_state=True).result()
        return refused(config, run.built, str(error))
    return judged(config, run.config.training, run.built)


def checked(text: str, target: str) -> Config:
    """Raises ConfigError for what a run would refuse before it begins."""
    config = validate_config(yaml.safe_load(text), target)
    check_section(config.cleaning)
    choose_precision(config.training.precision, find_device(config.training.device))
    return config
