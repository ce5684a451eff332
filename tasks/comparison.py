"""Registered versions -> one comparison, as a page in the store, in MLflow and as artifacts of Prefect."""

from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from minimind.registry.comparison import compare_versions, log_comparison
from minimind.report.comparison import render_comparison
from minimind.store import Store


@task(task_run_name="comparison", cache_policy=NO_CACHE, persist_result=True, result_serializer="json")
def comparison(name: str, versions: list[str], tracking_uri: str, store: Store) -> dict[str, Any]:
    """Scores the versions on the same documents and lets them write from the same prompts."""
    return compare_versions(name, versions, tracking_uri, store)


@task(task_run_name="comparison page", cache_policy=NO_CACHE, persist_result=True, result_serializer="json")
def comparison_page(compared: dict[str, Any], tracking_uri: str, store: Store) -> Path:
    """Renders the page and links it."""
    numbers = "-".join(version["version"] for version in compared["versions"])
    path = store.root / "reports" / compared["name"] / f"comparison-{numbers}" / "comparison.html"
    render_comparison(compared, path)
    page = log_comparison(compared, path, tracking_uri)
    key = f"{compared['name']}-comparison"
    create_link_artifact(link=page or path.as_uri(), link_text="comparison.html", key=f"{key}-page")
    create_markdown_artifact(key=key, markdown=describe(compared), description=compared["sentence"])
    return path


def describe(compared: dict[str, Any]) -> str:
    """The verdict and the table by source as Markdown."""
    rows = [(source, one) for source, one in compared["by_source"].items()] + [("all", compared)]
    lines = [
        f"| {name} | {one['documents']:,} | {one['bits_per_byte']['baseline']:.4f} | "
        f"{one['bits_per_byte']['candidate']:.4f} | {one['effect']['percent']:+.2f}% | {span(one)} | "
        f"{one['verdict'].replace('_', ' ')} |"
        for name, one in rows
    ]
    head = (
        f"| | documents | version {compared['baseline']} | version {compared['candidate']} | change | 95% interval | "
        "verdict |\n|---|---|---|---|---|---|---|"
    )
    table = "\n".join([head, *lines])
    unchecked = f"{said[:1].upper()}{said[1:]}.\n\n" if (said := compared["unchecked"]) else ""
    return f"{compared['sentence']}.\n\n{table}\n\n{unchecked}Noise: {compared['seed_spread']}.\n"


def span(one: dict[str, Any]) -> str:
    low, high = one["interval"]["percent"]
    return "–" if low is None else f"{low:+.2f}% to {high:+.2f}%"
