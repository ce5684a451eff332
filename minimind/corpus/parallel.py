"""Several transfers at once: their results in order, one failure for all, their progress, and their pace."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from minimind.corpus.progress import SECONDS_BETWEEN_REPORTS, Progress
from minimind.store import Store

TALKATIVE = ("httpx", "httpcore", "httpx2", "httpcore2", "botocore", "aiobotocore", "s3fs", "fsspec")
Result = TypeVar("Result")


class StoppedError(Exception):
    """Raised inside a transfer when another one has failed."""


class Transfers:
    """What transfers that run side by side share."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self.received = 0  # bytes
        self.expected: int | None = 0  # bytes; None where one of them does not say

    def add(self, size: int) -> None:
        """Counts bytes; raises StoppedError if the transfer is to end."""
        with self._lock:
            self.received += size
        self.sleep(0)

    def announce(self, size: int | None) -> None:
        """Counts bytes that are to come; None if it is not known how many."""
        with self._lock:
            self.expected = None if size is None or self.expected is None else self.expected + size

    def sleep(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise StoppedError

    def stop(self) -> None:
        self._stopped.set()


def in_parallel(jobs: Sequence[Callable[[Transfers], Result]], threads: int, store: Store) -> list[Result]:
    """The results in the order of the jobs. The first failure stops the other jobs and is raised.

    Progress is reported from the caller's thread, in bytes of those that have begun.
    """
    transfers, progress = Transfers(), Progress(store)
    with ThreadPoolExecutor(threads, "transfer") as pool:
        futures = [pool.submit(job, transfers) for job in jobs]
        waiting = set(futures)
        try:
            while waiting:
                finished, waiting = wait(waiting, SECONDS_BETWEEN_REPORTS, FIRST_EXCEPTION)
                for future in finished:
                    future.result()
                if waiting and progress.due():
                    files = f"{len(futures) - len(waiting):,} of {len(futures):,} files"
                    progress.report(transfers.received, transfers.expected or None, f"downloading: {files} are here")
        except BaseException:
            transfers.stop()
            for future in futures:
                future.cancel()
            raise
    return [future.result() for future in futures]


class Pace:
    """Keeps the requests to one host apart; those to another do not wait for them."""

    def __init__(self, requests_per_second: float) -> None:
        self._seconds_apart = 1 / requests_per_second
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}

    def wait(self, host: str, transfers: Transfers) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next.get(host, now))
            self._next[host] = turn + self._seconds_apart
        transfers.sleep(turn - now)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Meanwhile the transport libraries log warnings only: they would log whole URLs, redirects and signed headers."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(max(log.level, logging.WARNING))
    try:
        yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
