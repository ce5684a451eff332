"""What a build was made with: the commit, the lock file, the machine."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

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


class ContainerMemory(NamedTuple):
    limit: int  # bytes
    used: int


def container_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> ContainerMemory | None:
    """What this container may hold, and what it does (cgroup v2, then v1); None where there is no such file.

    What the kernel keeps of files that were read does not count, since it gives that up when it is wanted.
    """
    for folder, most, held, kept in (
        (cgroup, "memory.max", "memory.current", "inactive_file"),
        (cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit, used = (int((folder / name).read_text()) for name in (most, held))
            numbers = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no such file, or a limit that is `max`
            continue
        return ContainerMemory(limit, used - int(numbers.get(kept, 0)))
    return None


def processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
