"""What a build was made with: the commit, the lock file, the machine."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from minimind.digests import LIBRARY, sha256_of_file


@cache
def git_commit() -> str | None:
    """The commit of the project's checkout, with `-dirty` where files differ from it; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=LIBRARY, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


@cache
def lock_sha256() -> str | None:
    """Of the lock file that the environment was set up from; None where the project is no checkout."""
    path = LIBRARY.parent / "requirements.lock"
    return sha256_of_file(path) if path.is_file() else None


@cache
def describe_machine() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
