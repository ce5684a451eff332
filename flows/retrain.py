"""One domain, from its sources to a registered model."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict, Field

from flows.progress import listener
from flows.settings import store_root
from minimind.cleaning.checks import check_section
from minimind.config import load_config
from minimind.masking import SECRET
from minimind.registry import tracking
from minimind.registry.parent import line_of_champions
from minimind.registry.stale_runs import end_stale_runs
from minimind.store import STAGES, Manifest, Store
from minimind.training.device import find_device
from minimind.training.precision import choose_precision
from tasks.cleaning import PARTS_AT_ONCE, cleaning
from tasks.corpus import corpus
from tasks.evaluation import evaluation
from tasks.parent import check_folders, goes_on
from tasks.registry import registry
from tasks.report import report
from tasks.shards import shards
from tasks.stage import Run
from tasks.tokenizer import tokenizer
from tasks.training import training

STAGE_TASKS = (corpus, cleaning, tokenizer, shards, training, evaluation, registry)


# Refused by the server before it keeps the parameters; load_config says why to whoever calls the flow himself.
WithoutSecret = Annotated[str, Field(json_schema_extra={"not": {"pattern": SECRET}})]


class DomainRequest(BaseModel):
    """A domain, as every flow about one is asked for it. Prefect shows a form, and refuses what does not fit."""

    model_config = ConfigDict(extra="forbid")

    config: Annotated[str, Field(description="The domain's YAML, for example configs/demo.yaml")]
    overrides: Annotated[list[WithoutSecret], Field(description="section.key=value, one an entry")] = []
    sources: Annotated[
        list[WithoutSecret], Field(description="Globs of local files that replace the config's sources")
    ] = []
    store: Annotated[str | None, Field(description="The store's folder; else MINIMIND_STORE, else ./store")] = None


class RetrainRequest(DomainRequest):
    """What to retrain."""

    until: Annotated[
        Literal["corpus", "cleaning", "tokenizer", "shards", "training", "evaluation", "registry"] | None,
        Field(description="The last stage to run"),
    ] = None
    refresh: Annotated[bool, Field(description="Ask every source anew, frozen file lists included")] = False


@flow(
    name="retrain",
    flow_run_name="{request.config}",
    persist_result=True,
    result_serializer="json",
    task_runner=ThreadPoolTaskRunner(max_workers=PARTS_AT_ONCE),
)
def retrain(request: RetrainRequest) -> dict[str, Any]:
    """The stages in order, each reused where nothing that shapes it has changed; then the report."""
    run = start_run(request)
    with working(run):
        for stage in STAGE_TASKS:
            run.built[stage.name] = stage(run, return_state=True).result()
            if stage.name == request.until:
                break
        page = report(run) if "registry" in run.built else None
    return summarise(run.built, page)


def start_run(request: RetrainRequest) -> Run:
    """The checked config, its store, and a tracking server that answers. What cannot be trained is refused here."""
    logging.getLogger("minimind").setLevel(logging.INFO)  # Prefect attaches its handler and leaves the level alone
    config = load_config(Path(request.config), request.overrides, request.sources)
    if request.until != "corpus":
        check_section(config.cleaning)
    if request.until is None or STAGES.index(request.until) >= STAGES.index("training"):
        choose_precision(config.training.precision, find_device(config.training.device))
        check_folders(config)
    root = store_root(request.store)
    uri = tracking.tracking_uri(root, os.environ)
    tracking.initialise(uri, root)
    champions = line_of_champions(uri, config.name) if goes_on(config) else ()
    return Run(config, Store(root, config.name, listener.get()), uri, request.refresh, champions=champions)


@contextmanager
def working(run: Run) -> Iterator[None]:
    """The store in use by this flow run; however it ends, and where one before it was killed, MLflow is told."""
    end_stale_runs(run.store, run.tracking_uri)
    with run.store.in_use(flow_run.id):
        try:
            yield
        finally:
            end_stale_runs(run.store, run.tracking_uri)


def summarise(built: dict[str, Manifest], page: Path | None) -> dict[str, Any]:
    """What `minimind run --json` prints; a stage that was not reached is None."""
    return {
        "stages": {stage: _describe_stage(built.get(stage)) for stage in STAGES},
        "model": _describe_model(built),
        "metrics": _describe_metrics(built),
        "report": str(page) if page else None,
    }


def _describe_stage(manifest: Manifest | None) -> dict[str, Any] | None:
    if manifest is None:
        return None
    return {
        "fingerprint": manifest.fingerprint,
        "path": str(manifest.path),
        "reused": manifest.reused,
        "seconds": manifest.seconds,
    }


def _describe_model(built: dict[str, Manifest]) -> dict[str, Any] | None:
    if "registry" not in built:
        return None
    details = built["registry"].details
    registered = {key: details[key] for key in ("name", "version", "uri", "aliases")}
    decided = {"decision": details["decision"]["outcome"], "reasons": details["decision"]["reasons"]}
    return registered | {"path": str(built["registry"].path / "model"), **decided}


def _describe_metrics(built: dict[str, Manifest]) -> dict[str, float | None] | None:
    """Holdout figures from the evaluation, and what the training cost."""
    if "training" not in built:
        return None
    trained = built["training"].counts
    evaluated = built["evaluation"].counts if "evaluation" in built else {}
    scores = ("bits_per_byte", "loss", "xz_bits_per_byte", "zstd_bits_per_byte")
    costs = ("tokens", "steps", "epochs", "parameters", "tokens_per_second", "training_seconds")
    return {name: evaluated.get(name) for name in scores} | {name: trained.get(name) for name in costs}
