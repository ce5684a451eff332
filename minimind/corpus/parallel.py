"""Several downloads at once, in one process or in several: in order, one failure for all, progress, and pace."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from minimind.config import CorpusConfig
from minimind.corpus.kept import Kept
from minimind.corpus.progress import SECONDS_BETWEEN_REPORTS, Progress
from minimind.parts import Report, Workers
from minimind.store import Store

PARTS = 8  # at most, that files are dealt out to where others fetch them
TALKATIVE = ("httpx", "httpcore", "httpx2", "httpcore2", "botocore", "aiobotocore", "s3fs", "fsspec")
Result = TypeVar("Result")
File = TypeVar("File")


@dataclass(frozen=True)
class DownloadPart(Generic[File]):
    """Some of the files, and the share of what the config permits all of them together."""

    number: int
    files: tuple[File, ...]
    store: Store  # that reports nowhere
    max_bytes: int  # of a file
    threads: int
    pace: "Pace"

    @property
    def name(self) -> str:
        return f"download {self.number + 1}"

    @property
    def size(self) -> float:
        return len(self.files)


def download(
    fetch: Callable[[DownloadPart[File], Report], list[Kept]],
    files: Sequence[File],
    section: CorpusConfig,
    pace: "Pace",
    store: Store,
    workers: Workers,
) -> list[Kept]:
    """The files, in their order, as `fetch` brings those of one part into the store's download folder.

    All parts may be worked on at once: there are no more of them than transfers are permitted.
    """
    count = max(1, min(len(files), PARTS, section.parallel_downloads)) if workers.elsewhere else 1
    parts = [
        DownloadPart(
            number,
            tuple(files[number::count]),
            Store(store.root, store.domain),
            section.max_download_bytes,
            section.parallel_downloads // count,
            pace if count == 1 else pace.shared_by(count),
        )
        for number in range(count)
    ]
    found: list[Any] = [None] * len(files)
    for part, kept in workers.each(fetch, parts, partial(store.report, "corpus")):
        found[part.number :: count] = kept
    return found


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


def in_parallel(jobs: Sequence[Callable[[Transfers], Result]], threads: int, report: Report) -> list[Result]:
    """The results in the order of the jobs. The first failure stops the other jobs and is raised.

    Progress is reported from the caller's thread, in bytes of those that have begun.
    """
    transfers, progress = Transfers(), Progress(report)
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
    """Keeps the requests to one host apart; those to another do not wait for them. Elsewhere it begins anew."""

    def __init__(self, requests_per_second: float) -> None:
        self._requests_per_second = requests_per_second
        self._seconds_apart = 1 / requests_per_second
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}

    def __reduce__(self) -> "tuple[type[Pace], tuple[float]]":
        return Pace, (self._requests_per_second,)

    def shared_by(self, count: int) -> "Pace":
        """For each of so many, who do not know of one another."""
        return Pace(self._requests_per_second / count)

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
