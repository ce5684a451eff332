"""Everything built -> one HTML page, in the store, in MLflow and linked in Prefect."""

from pathlib import Path

from prefect import task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE

from minimind.registry.tracking import log_report
from minimind.report.page import render_report
from tasks.retries import RETRIES
from tasks.stage import Run


@task(task_run_name="report", cache_policy=NO_CACHE, persist_result=True, result_serializer="json", **RETRIES)
def report(run: Run) -> Path:
    """Renders the report; last, so that the registry's decision is in it."""
    registered = run.built["registry"]
    path = run.store.root / "reports" / run.config.name / registered.fingerprint / "report.html"
    render_report(run.config, run.built, path)
    page = log_report(run.tracking_uri, str(registered.details["run_id"]), path)
    create_link_artifact(link=page or path.as_uri(), link_text="report.html", key=f"{run.config.name}-report")
    return path
