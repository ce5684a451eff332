"""The pictures of the docs: three scheduled runs of a tiny corpus, as Prefect's and MLflow's pages show them.

    python -m tests.system.pictures                         # about ten minutes on two busy cores
    python -m tests.system.pictures --report PAGE.html      # docs/report.png, of a report that a run has left

The second run finds more documents, the third a larger budget, and the stages up to the shards reused. Needs what
`tests.system.browser` needs. Look at each picture before you commit it.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minimind.registry.tracking import connect
from tests.conftest import make_sentences
from tests.flows.domain import PROJECT, write_corpus
from tests.system.browser import Page, browser
from tests.system.installation import ENDED, Installation
from tests.system.patience import wait_until
from tests.system.soak import under_way

NAME = "tiny"
INTERVAL_SECONDS = 30
WIDTH, HEIGHT, MENU = 1400, 800, 200  # pixels; the last is the width of MLflow's menu
CHARTS = "training/(loss|holdout_bits|learning_rate)"
WITHOUT_NEWS = {  # what else MLflow shows to who comes for the first time
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "_mlflow_model_registry_promo_modal_dismissed_v1": "true",
}
DOCS = PROJECT / "docs"
REUSED = ("corpus", "cleaning", "tokenizer", "shards")  # by the third run


def take_all(folder: Path) -> None:
    installation = Installation(folder, make_sentences())
    with up(installation):
        last = three_runs(installation)
        pause(installation)
        with browser(WIDTH, HEIGHT) as page:
            of_prefect(page, installation, last)
            of_mlflow(page, installation)


@contextmanager
def up(installation: Installation) -> Iterator[None]:
    configure(installation, "150k tokens")
    scheduled = {
        "name": NAME,
        "parameters": {"request": {"config": f"{NAME}.yaml"}},
        "schedules": [{"slug": "often", "interval": INTERVAL_SECONDS}],
        "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
    }
    try:
        installation.up(deployments=(scheduled,))
        yield
    finally:
        installation.down()


def configure(installation: Installation, budget: str) -> None:
    installation.config(NAME, lambda tree: tree["training"].update(budget=budget))


def three_runs(installation: Installation) -> dict[str, Any]:
    """The last of three runs of the schedule that had something to build."""
    completed(installation, versions=1)
    write_corpus(installation.corpus, installation.sentences, 200)
    completed(installation, versions=2)
    configure(installation, "300k tokens")
    return completed(installation, versions=3)


def completed(installation: Installation, versions: int) -> dict[str, Any]:
    """The last run, once so many have built something, and so registered a version."""

    def found() -> list[dict[str, Any]]:
        ended = [run for run in installation.runs() if run["state_type"] in ENDED and run["total_run_time"]]
        assert not (bad := [run for run in ended if run["state_type"] in ("FAILED", "CRASHED")]), bad
        return [run for run in ended if run["state_name"] == "Completed"]

    wait_until(lambda: len(found()) >= versions, 300, f"{versions} runs that built something")
    return found()[-1]


def pause(installation: Installation) -> None:
    """No run begins while pictures are taken, and none is under way."""
    (deployment,) = installation.ask("/deployments/filter", {"deployments": {"name": {"any_": [NAME]}}})
    with installation.place.prefect_api().client() as client:
        client.patch(f"/deployments/{deployment['id']}", json={"paused": True}).raise_for_status()
    wait_until(lambda: not under_way(installation), 120, "end of the runs under way")


# --- the pictures -----------------------------------------------------------------------------------------------------


def of_prefect(page: Page, installation: Installation, run: dict[str, Any]) -> None:
    page.size(WIDTH, 1420)
    page.open(f"{installation.place.prefect}/runs/flow-run/{run['id']}", "Task Runs")
    page.click("Task Runs")
    page.wait_for("Reused", *REUSED)
    page.picture(DOCS / "prefect-run.png", WIDTH - 256, 1420, 256)


def of_mlflow(page: Page, installation: Installation) -> None:
    page.size(WIDTH, HEIGHT)
    page.remember(WITHOUT_NEWS)
    client, address = connect(installation.mlflow_uri), installation.place.mlflow
    champion = client.get_model_version_by_alias(NAME, "champion")
    experiment = client.get_run(champion.run_id).info.experiment_id
    page.open(f"{address}/#/experiments/{experiment}/runs", f"{NAME}-", "Models")
    page.picture(DOCS / "mlflow-runs.png", WIDTH - MENU, 350, MENU)
    page.open(f"{address}/#/experiments/{experiment}/runs/{champion.run_id}/model-metrics", "Add section")
    page.type("Search metric charts", CHARTS)
    page.picture(DOCS / "mlflow-charts.png", WIDTH - MENU, 620, MENU)
    page.open(f"{address}/#/models", NAME, "champion")
    page.click("+1")  # the alias for which there is no room
    page.wait_for("challenger")
    page.picture(DOCS / "mlflow-models.png", WIDTH - MENU, 300, MENU)


def of_report(report: Path) -> None:
    with browser(1280, 2230) as page:
        page.open(report.absolute().as_uri(), "From raw to clean")
        page.picture(DOCS / "report.png", 1280, 2230)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Takes the pictures of the docs anew.")
    parser.add_argument("--report", type=Path, metavar="PAGE.html", help="only docs/report.png, of this page")
    given = parser.parse_args()
    if given.report:
        of_report(given.report)
    else:
        with tempfile.TemporaryDirectory(prefix="minimind-") as temporary:
            take_all(Path(temporary))
