"""Where a store lies, and which servers a command talks to."""

import os
from pathlib import Path

from minimind.errors import UserError

DEFAULT_STORE = Path("store")
DEFAULT_SLOT = "gpu0"


def slot_name(option: str | None = None) -> str:
    """The concurrency limit that trainings queue for: as asked, else MINIMIND_SLOT, else gpu0; empty: none."""
    return os.environ.get("MINIMIND_SLOT", DEFAULT_SLOT) if option is None else option


def store_root(option: str | Path | None = None) -> Path:
    """`--store`, else MINIMIND_STORE, else `store` in the current folder; absolute."""
    chosen = option or os.environ.get("MINIMIND_STORE") or DEFAULT_STORE
    try:
        root = Path(chosen).expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"--store {chosen}: {error}; write the path out") from None
    if any(sign in str(root) for sign in "%?"):  # MLflow reads these in addresses of databases and artifacts
        raise UserError(f"--store {root} holds a % or a ?, which MLflow cannot handle in a path; choose another name")
    nearest = next(folder for folder in (root, *root.parents) if folder.exists())
    if not nearest.is_dir():
        raise UserError(f"--store {root} cannot be a folder: {nearest} is a file; choose another place")
    return root
