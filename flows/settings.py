"""Where a store lies, and which servers a command talks to."""

import os
from pathlib import Path

DEFAULT_STORE = Path("store")


def store_root(option: str | Path | None = None) -> Path:
    """`--store`, else MINIMIND_STORE, else `store` in the current folder; absolute."""
    chosen = option or os.environ.get("MINIMIND_STORE") or DEFAULT_STORE
    return Path(chosen).expanduser().absolute()
