"""Registered versions of one domain beside each other."""

from typing import Annotated, Any

from prefect import flow
from prefect.runtime import flow_run
from pydantic import BaseModel, Field

from flows.failures import failures_told
from flows.forms import FORM
from flows.progress import listener
from flows.settings import store_root, tracking_uri
from minimind.store import Store
from tasks.comparison import comparison, comparison_page


class CompareRequest(BaseModel):
    """What to compare. Prefect shows this as a form and refuses what does not fit."""

    model_config = FORM

    name: Annotated[str, Field(description="The registered model, which has the domain's name")]
    versions: Annotated[
        list[str],
        Field(description="Two or more, the first is what the others are held against; none: champion, newest"),
    ] = []
    store: Annotated[str | None, Field(description="The store's folder; else MINIMIND_STORE, else ./store")] = None


@flow(name="compare", flow_run_name="{request.name}", persist_result=True, result_serializer="json")
@failures_told
def compare(request: CompareRequest) -> dict[str, Any]:
    """Scores the versions on the same documents, then writes the page."""
    root = store_root(request.store)
    store, uri = Store(root, request.name, listener.get()), tracking_uri(root)
    with store.in_use(flow_run.id):
        compared = comparison(request.name, request.versions, uri, store)
        page = comparison_page(compared, uri, store)
    return {**compared, "page": str(page)}
