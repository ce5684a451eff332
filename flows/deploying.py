"""`minimind deploy`: prefect.yaml, and who is told of failures, for a Prefect server that runs already."""

import os
from pathlib import Path

from flows import local_run, servers
from flows.deployments import deploy_all
from flows.settings import store_root
from minimind.errors import ServerError


def deploy(project: Path, notify: str | None, option: Path | None) -> None:
    root = store_root(option)
    if not os.environ.get("PREFECT_API_URL") and "Prefect" not in servers.running_servers(root):
        raise ServerError(
            "there is no Prefect server to deploy to; set PREFECT_API_URL to one, or start one with `minimind up`"
        )
    with local_run.prefect_server(root):
        for line in deploy_all(project, os.environ).lines():
            print(line)
        if notify:
            from flows.automations import register

            for line in register(notify).lines():
                print(line)
