"""What nothing needs any more goes from the store, on a schedule."""

import logging
import time
from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed
from pydantic import BaseModel, Field

from flows.failures import failures_told
from flows.forms import FORM
from flows.settings import store_root
from flows.store_views import existing_store, prune_store
from minimind.errors import StoreInUseError
from minimind.pruning import MAX_INTERRUPTED_DAYS, Prunable
from minimind.store import Store
from tasks.retries import RETRIES

ASK_AGAIN_SECONDS = 30.0

logger = logging.getLogger("minimind.flows")  # below the logger that Prefect shows


class PruneRequest(BaseModel):
    """What to remove. Prefect shows this as a form and refuses what does not fit."""

    model_config = FORM

    unfinished: Annotated[
        bool, Field(description=f"Interrupted trainings of the last {MAX_INTERRUPTED_DAYS:g} days, too")
    ] = False
    keep_versions: Annotated[
        int | None,
        Field(
            ge=1,
            description="So many of each domain, and those with an alias, keep what they were built from; none: all",
        ),
    ] = None
    wait_hours: Annotated[float, Field(ge=0, le=168, description="For runs that use the store")] = 12.0
    store: Annotated[str | None, Field(description="The store's folder; else MINIMIND_STORE, else ./store")] = None


@flow(name="prune", persist_result=True, result_serializer="json")
@failures_told
def prune(request: PruneRequest) -> Any:
    """Removes builds that no registered model and no newest build needs, and what killed runs left."""
    store = existing_store(store_root(request.store))
    removed = pruned(store, request)
    if removed is None:
        raise StoreInUseError(
            f"runs used {store.root} for {request.wait_hours:g} hours, one after the other; nothing was removed. Give "
            "this deployment a time at which none is due, or a longer wait_hours"
        )
    sentence = f"Removed {len(removed)} folders, {sum(row.bytes for row in removed) / 1e6:,.1f} MB."
    lines = "\n".join(f"| `{row.path}` | {row.bytes / 1e6:,.1f} | {row.reason} |" for row in removed)
    table = f"{sentence}\n\n| folder | MB | why |\n|---|---|---|\n{lines}\n" if removed else sentence
    create_markdown_artifact(key="store-prune", markdown=table)
    result = {"removed": [str(row.path) for row in removed], "bytes": sum(row.bytes for row in removed)}
    return Completed(message=sentence, data=result)


def when_unused(store: Store, request: PruneRequest) -> list[Prunable] | None:
    """What was removed, once no run used the store; None if one did for as long as it was to be waited."""
    until = time.monotonic() + 3600 * request.wait_hours
    while True:
        try:
            folders, texts = prune_store(store, request.unfinished, request.keep_versions)
        except StoreInUseError as error:
            if time.monotonic() >= until:
                return None
            logger.info("%s; asking again in %g s", error, ASK_AGAIN_SECONDS)
            time.sleep(ASK_AGAIN_SECONDS)
        else:
            return folders + texts


# As MLflow is asked, and may be away: nothing has been removed by then.
pruned = task(
    when_unused, name="pruned", task_run_name="pruned", cache_policy=NO_CACHE, persist_result=False, **RETRIES
)
