"""One config, several seeds -> how much they differ."""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from minimind.seeds import measure_seeds
from tasks.slot import queueing
from tasks.stage import Run


@task(task_run_name="seeds", cache_policy=NO_CACHE, persist_result=True, result_serializer="json")
def seed_spread(run: Run, seeds: int, budget: str | None) -> dict[str, Any]:
    """Trains with each seed and keeps the spread in the store."""
    found = measure_seeds(run.config, run.built, seeds, budget, queueing(run))
    return {
        "name": run.config.name,
        "spread": found.spread.share,
        "by_source": dict(found.spread.by_source),
        "seeds": list(found.seeds),
        "bits_per_byte": list(found.bits_per_byte),
        "trained_budget": found.trained_budget,
        "small": found.small,
        "seeds_reach": found.spread.half_width(0.95) * 2**0.5,
    }
