"""`minimind seeds`: the spread between seeds for a person in front of a terminal, or as JSON."""

import json
from pathlib import Path
from typing import Any

from flows import local_run
from flows.settings import store_root
from minimind.config import load_config, parse_budget
from minimind.errors import ConfigError


def measure(
    config: Path, overrides: list[str], sources: list[str], seeds: int, budget: str | None, option: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    load_config(config, overrides, sources)  # a wrong YAML is said before anything starts
    if budget is not None:
        try:
            parse_budget(budget)
        except ValueError as error:
            raise ConfigError("--budget", [str(error)]) from None
    root = store_root(option)

    def call() -> dict[str, Any]:
        from flows.seeds import SeedsRequest
        from flows.seeds import seeds as measure_seeds

        return measure_seeds(
            SeedsRequest(
                config=str(config), overrides=overrides, sources=sources, seeds=seeds, budget=budget, store=str(root)
            )
        )

    result = local_run.called(root, call)
    if as_json:
        print(json.dumps(result))
    else:
        print_spread(result)


def print_spread(result: dict[str, Any]) -> None:
    values = ", ".join(f"{value:.4f}" for value in result["bits_per_byte"])
    small = ", in small" if result["small"] else ""
    print(
        f"{len(result['seeds'])} seeds of {result['name']} ({result['trained_budget']} each{small}): "
        f"{values} bits per byte"
    )
    print(f"standard deviation {result['spread']:.2%} of the mean; by source: ", end="")
    print(", ".join(f"{source} {share:.2%}" for source, share in result["by_source"].items()))
    print(
        f"by the luck of seeds alone two versions differ by up to {result['seeds_reach']:.2%} (in 95% of cases); what "
        "other documents would change comes on top"
    )
