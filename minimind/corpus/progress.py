"""Progress at most a few times a second, however fast the work is."""

import time

from minimind.parts import Report

SECONDS_BETWEEN_REPORTS = 0.3


class Progress:
    def __init__(self, report: Report) -> None:
        self.report = report
        self._last = 0.0

    def due(self) -> bool:
        """True if so much time has passed that a report may be made; the caller then makes one."""
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_REPORTS:
            return False
        self._last = now
        return True
