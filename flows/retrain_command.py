"""`minimind run`: a retraining for a person in front of a terminal, or as JSON."""

import json
from pathlib import Path
from typing import Any

from flows import local_run
from flows.settings import store_root
from minimind.config import load_config
from tasks.runners import runner_name


def run(
    config: Path, overrides: list[str], sources: list[str], until: str | None, refresh: bool, runner: str | None,
    when_due: bool, store: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Retrains and prints the summary, for people or as JSON."""
    load_config(config, overrides, sources)  # a wrong YAML is said before anything starts
    runner = runner_name(runner)
    root = store_root(store)

    def call() -> dict[str, Any]:
        from flows.retrain import RetrainRequest, retrain

        request = RetrainRequest(
            config=str(config), overrides=overrides, sources=sources, until=until, refresh=refresh, runner=runner,
            force=not when_due, store=str(root),
        )  # fmt: skip
        return retrain(request)

    result = local_run.called(root, call)
    if as_json:
        print(json.dumps(result))
    else:
        from flows.summary import print_summary

        print_summary(result, root)
