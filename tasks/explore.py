"""Shards -> three small trainings of a tiny model, and the page with what they and the audit say."""

from pathlib import Path

from prefect import task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE

from minimind.config import Config
from minimind.explore.build import ExploreInputs, build
from minimind.explore.verdict import Verdict
from minimind.report.explore import render_explored
from minimind.store import Manifest
from tasks.slot import queueing
from tasks.stage import Run, stage_task


@stage_task
def explore(run: Run) -> Manifest:
    """Trains on all of the text, on a half and on a quarter of it, and scores the same holdout; one at a time."""
    inputs = ExploreInputs(run.built["cleaning"], run.built["tokenizer"], run.built["shards"])
    return build(run.config.training, run.config.evaluation, inputs, queueing(run))


@task(task_run_name="explored", cache_policy=NO_CACHE, persist_result=True, result_serializer="json")
def explored_page(run: Run, config: Config, verdict: Verdict, yaml_text: str) -> Path:
    """The page and, beside it, the YAML to go on with."""
    last = run.built.get("explore", run.built["cleaning"])
    folder = run.store.root / "reports" / config.name / f"explored-{last.fingerprint}"
    path, yaml_path = folder / "explore.html", folder / f"{config.name}.yaml"
    render_explored(config, run.built, verdict, yaml_text, yaml_path.name, path)
    yaml_path.write_text(yaml_text)
    create_link_artifact(link=path.as_uri(), link_text="explore.html", key=f"{config.name}-explore-page")
    return path
