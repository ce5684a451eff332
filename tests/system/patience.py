"""Waiting, as long as the machine may take for it."""

import os
import time
from collections.abc import Callable

PATIENCE = float(os.environ.get("MINIMIND_PATIENCE", "1"))  # a factor on every time limit, for busy machines


def wait_until(
    is_so: Callable[[], object], seconds: float, what: str, pause: float = 0.2, seen: Callable[[], str] = lambda: ""
) -> float:
    """Seconds until it was so; fails with `what`, and with what was `seen` last, where it is not in time."""
    seconds, began = seconds * PATIENCE, time.monotonic()
    while not is_so():
        assert time.monotonic() - began < seconds, f"no {what} within {seconds:g} s{seen()}"
        time.sleep(pause)
    return time.monotonic() - began
