"""`minimind doctor`: this machine and these settings, and what is wrong with them, in plain words."""

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from flows import servers
from flows.settings import store_root
from minimind.machine import processor_name
from minimind.masking import masked

PINNED = {  # distribution -> (versions that work, what happens otherwise)
    "prefect": ("3.8.8", "the project is tested with this version"),
    "mlflow": ("3.17.2", "the project is tested with this version"),
    "duckdb": ("1.5.6", "other versions may clean to other bytes"),
    "torch": ("2.13.0", "other versions may train to other bytes"),
}
MIN_MEMORY_GB, MIN_DISK_GB = 4.0, 5.0


@dataclass(frozen=True)
class Finding:
    topic: str
    found: str
    problem: str | None = None


def examine(option: Path | None, as_json: bool) -> bool:
    """Prints the findings; True if nothing is wrong."""
    root = store_root(option)
    findings = [*versions(), *hardware(root), *settings(root)]
    if as_json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            print(f"{'!' if finding.problem else ' '} {finding.topic:<16} {finding.found}")
            if finding.problem:
                print(f"  {'':<16} {finding.problem}")
    return not any(finding.problem for finding in findings)


def versions() -> list[Finding]:
    python = platform.python_version()
    old = "Python 3.11 or newer is needed" if sys.version_info < (3, 11) else None
    return [Finding("python", f"{python} at {sys.executable}", old), *(version(name) for name in PINNED), *companions()]


def version(name: str) -> Finding:
    wanted, otherwise = PINNED[name]
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "not installed", "install the lock file: pip install -r requirements.lock")
    differs = found.partition("+")[0] != wanted
    return Finding(name, found, f"the lock file says {wanted}; {otherwise}" if differs else None)


def companions() -> list[Finding]:
    """Two libraries whose newer versions break Prefect without a word."""
    rows = []
    for name, low, high in (("fastapi", (0, 139), (0, 151)), ("sqlalchemy", (2, 0), (2, 1))):
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            rows.append(Finding(name, "not installed", "install the lock file: pip install -r requirements.lock"))
            continue
        parts = tuple(int(part) for part in found.split(".")[:2])
        words = f">={low[0]}.{low[1]},<{high[0]}.{high[1]}"
        rows.append(Finding(name, found, None if low <= parts < high else f"Prefect 3.8.8 needs {name}{words}"))
    return rows


def hardware(root: Path) -> list[Finding]:
    import torch

    memory = psutil.virtual_memory()
    free = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free
    if torch.cuda.is_available():
        device = (
            f"{torch.cuda.get_device_name()}, bf16 {'yes' if torch.cuda.is_bf16_supported() else 'no: fp16 is used'}"
        )
    else:
        device = f"CPU: {processor_name()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    little_memory = (
        f"below {MIN_MEMORY_GB:g} GB; large corpora will not clean" if memory.available < MIN_MEMORY_GB * 1e9 else None
    )
    little_disk = (
        f"below {MIN_DISK_GB:g} GB; `minimind store prune` lists what may go" if free < MIN_DISK_GB * 1e9 else None
    )
    return [
        Finding("device", device),
        Finding("memory", f"{memory.available / 1e9:,.1f} of {memory.total / 1e9:,.1f} GB free", little_memory),
        Finding("disk", f"{free / 1e9:,.1f} GB free for {root}", little_disk),
    ]


def settings(root: Path) -> list[Finding]:
    up = servers.running_servers(root)
    rows = [Finding("store", str(root) if root.is_dir() else f"{root} (not there yet)", unwritable(root))]
    for name, variable, path, own in (
        ("Prefect", "PREFECT_API_URL", "/health", "a run starts one for itself"),
        ("MLflow", "MLFLOW_TRACKING_URI", "/health", f"sqlite:///{root / 'mlflow.db'}"),
    ):
        named = os.environ.get(variable)
        if named and named.startswith("http"):
            problem = None if servers.answers(named.rstrip("/") + path) else f"no answer; start it or unset {variable}"
            rows.append(Finding(name, masked(named), problem))
        elif named:
            rows.append(Finding(name, masked(named)))
        else:
            rows.append(Finding(name, f"{up[name].url}, from `minimind up`" if name in up else own))
    return rows


def unwritable(root: Path) -> str | None:
    folder = next(folder for folder in (root, *root.parents) if folder.exists())
    return None if os.access(folder, os.W_OK) else f"{folder} cannot be written; choose another place with --store"
