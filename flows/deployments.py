"""What prefect.yaml lists, made known to a Prefect server."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from flows.prefect_api import WORK_POOL
from minimind.errors import ServerError


def deploy_all(project: Path, environment: Mapping[str, str]) -> None:
    """Makes the work pool and every deployment of the project. Raises ServerError with what Prefect said."""
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    for arguments in (["work-pool", "create", WORK_POOL, "--type", "process", "--overwrite"], ["deploy", "--all"]):
        done = subprocess.run(
            [*prefect, *arguments], cwd=project, env=os.environ | environment, capture_output=True, text=True
        )
        if done.returncode:
            raise ServerError(f"`prefect {' '.join(arguments)}` failed:\n{(done.stdout + done.stderr).strip()[-2000:]}")
