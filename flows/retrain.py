"""One domain, from its sources to a registered model."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import BaseModel, Field

from flows.failures import BEFORE, begun, build_stage, failures_told
from flows.forms import FORM
from flows.progress import listener
from flows.settings import slot_name, store_root, tracking_uri
from minimind.audit.due import Due, is_due
from minimind.cleaning.checks import check_section
from minimind.config import load_config
from minimind.evaluation.build import check_tasks
from minimind.masking import SECRET
from minimind.registry import tracking
from minimind.registry.parent import line_of_champions
from minimind.registry.stale_runs import end_stale_runs
from minimind.store import STAGES, Manifest, Store
from minimind.training.device import find_device
from minimind.training.precision import choose_precision
from minimind.training.proposal import check_budget
from tasks.cleaning import cleaning
from tasks.corpus import corpus
from tasks.evaluation import evaluation
from tasks.parent import check_folders, goes_on
from tasks.registry import registry, tracking_server
from tasks.report import report
from tasks.runners import FORMS, IN_WORDS, VARIABLE, runner_name
from tasks.shards import shards
from tasks.stage import Run
from tasks.tokenizer import tokenizer
from tasks.training import training

logger = logging.getLogger("minimind.flows")  # below the logger that Prefect shows

STAGE_TASKS = (corpus, cleaning, tokenizer, shards, training, evaluation, registry)


# Refused by the server before it keeps the parameters; load_config says why to whoever calls the flow himself.
WithoutSecret = Annotated[str, Field(json_schema_extra={"not": {"pattern": SECRET}})]


Overrides = Annotated[list[WithoutSecret], Field(description="section.key=value, one an entry")]
Refresh = Annotated[bool, Field(description="Ask every source anew, frozen file lists included")]
Runner = Annotated[
    str | None,
    Field(
        description=f"Where parts of the work run: {IN_WORDS}; else {VARIABLE}, else threads. Changes no result",
        pattern=f"^(?:{FORMS.pattern})$",
    ),
]
SlotName = Annotated[
    str | None,
    Field(description="The concurrency limit that trainings queue for; else MINIMIND_SLOT, else gpu0; empty: none"),
]


class DomainRequest(BaseModel):
    """A domain, as every flow about one is asked for it. Prefect shows a form, and refuses what does not fit."""

    model_config = FORM

    config: Annotated[str, Field(description="The domain's YAML, for example configs/demo.yaml")]
    overrides: Overrides = []
    sources: Annotated[
        list[WithoutSecret], Field(description="Globs of local files that replace the config's sources")
    ] = []
    store: Annotated[str | None, Field(description="The store's folder; else MINIMIND_STORE, else ./store")] = None
    runner: Runner = None
    slot: SlotName = None


class RetrainRequest(DomainRequest):
    """What to retrain."""

    until: Annotated[
        Literal["corpus", "cleaning", "tokenizer", "shards", "training", "evaluation", "registry"] | None,
        Field(description="The last stage to run"),
    ] = None
    refresh: Refresh = False
    force: Annotated[bool, Field(description="Train however little the corpus has changed (see retrain_when)")] = False

    def reaches(self, stage: str) -> bool:
        return self.until is None or STAGES.index(self.until) >= STAGES.index(stage)


@flow(name="retrain", flow_run_name="{request.config}", persist_result=True, result_serializer="json")
@failures_told
def retrain(request: RetrainRequest) -> Any:
    """The stages in order, each reused where nothing that shapes it has changed; then the report."""
    with begun(BEFORE):
        run = start_run(request, tracking_server)
    with working(run):
        for stage in STAGE_TASKS:
            build_stage(run, stage)
            if stage is corpus and not (due := whether_due(run, request)).train:
                return too_little_changed(run, due)
            if stage.name == request.until:
                break
        page = None
        if "registry" in run.built:
            with begun("report"):
                page = report(run)
    return finished(run, page, due)


def start_run(request: RetrainRequest, initialise: Callable[[str, Path], Any] = tracking.initialise) -> Run:
    """The checked config, its store, and a tracking server that answers.

    What cannot be trained or evaluated is refused here, before hours go into it.
    """
    logging.getLogger("minimind").setLevel(logging.INFO)  # Prefect attaches its handler and leaves the level alone
    config = load_config(Path(request.config), request.overrides, request.sources)
    runner = runner_name(request.runner)
    if request.reaches("cleaning"):
        check_section(config.cleaning)
    if request.reaches("training"):
        choose_precision(config.training.precision, find_device(config.training.device))
        check_budget(config.training)
        check_folders(config)
    if request.reaches("evaluation"):
        check_tasks(config.evaluation)
    root = store_root(request.store)
    uri = tracking_uri(root)
    initialise(uri, root)
    champions = line_of_champions(uri, config.name) if goes_on(config) else ()
    store = Store(root, config.name, listener.get())
    return Run(config, store, uri, request.refresh, champions, runner, slot_name(request.slot))


@contextmanager
def working(run: Run) -> Iterator[None]:
    """The store in use by this flow run; however it ends, and where one before it was killed, MLflow is told."""
    end_stale_runs(run.store, run.tracking_uri)
    with run.store.in_use(flow_run.id):
        try:
            yield
        finally:
            end_stale_runs(run.store, run.tracking_uri, own=flow_run.id)


# --- the outcome ------------------------------------------------------------------------------------------------------


def whether_due(run: Run, request: RetrainRequest) -> Due:
    """Whether the run goes on behind the corpus; the rule is one of training, and none for who asks for less or all."""
    if request.force or not request.reaches("training"):
        return Due(True, "it was asked for")
    due = is_due(run.config, run.built["corpus"], run.store)
    logger.info("retrain_when: %s", due.because)
    return due


def too_little_changed(run: Run, due: Due) -> State[dict[str, Any]]:
    sentence = f"Too little changed: {due.because}."
    create_markdown_artifact(key=f"{run.config.name}-retrain-when", markdown=sentence)
    result = summarise(run.built, None, due, "too_little_changed", sentence)
    return Completed(name="Too little changed", message=sentence, data=result)


def finished(run: Run, page: Path | None, due: Due) -> State[dict[str, Any]]:
    """Completed; named `Nothing new` where every stage was found in the store."""
    if all(manifest.reused for manifest in run.built.values()):
        sentence = "Nothing new: every stage was reused."
        result = summarise(run.built, page, due, "nothing_new", sentence)
        return Completed(name="Nothing new", message=sentence, data=result)
    built = [stage for stage, manifest in run.built.items() if not manifest.reused]
    sentence = f"Built: {', '.join(built)}."
    return Completed(message=sentence, data=summarise(run.built, page, due, "built", sentence))


def summarise(built: dict[str, Manifest], page: Path | None, due: Due, outcome: str, sentence: str) -> dict[str, Any]:
    """What `minimind run --json` prints; a stage that was not reached is None."""
    return {
        "outcome": {"name": outcome, "sentence": sentence, "retrain_when": due.as_json()},
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
