"""What the training process and its supervisor agree on: files, exit codes, how one learns that the other is gone."""

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import FrameType

STOP_SECONDS = 30  # between SIGTERM and the end, at most

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ExitCode(IntEnum):
    """Numbers of sysexits.h where one fits."""

    DONE = 0
    DIVERGED = 65
    OUT_OF_MEMORY = 71
    DISK_FULL = 74
    REFUSED = 78  # what it was given cannot be used, and the log says why
    INTERRUPTED = 75  # with a checkpoint; run again to continue


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training. Plan, metrics, model and summary are published, the rest serves while it runs."""

    path: Path

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def options(self) -> Path:
        """What the process needs and no sum depends on: where the shards lie, how often to save."""
        return self.path / "options.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def worker(self) -> Path:
        """Pid of the process, written by its supervisor; locked by the process that writes while it lives."""
        return self.path / "worker.json"

    @property
    def log(self) -> Path:
        return self.path / "training.log"

    @property
    def summary(self) -> Path:
        """Seconds and resumptions. Where it stands, model and metrics are whole and on disk: training is done."""
        return self.path / "summary.json"

    @property
    def unpublished(self) -> tuple[Path, ...]:
        return self.options, self.worker, self.log


class StopRequestedError(Exception):
    """SIGTERM came, or the supervisor is gone."""


class StopRequest:
    """Asked for between micro-batches. The signal handler only takes a note: it writes nothing and raises nothing."""

    def __init__(self, supervisor: int) -> None:
        self.supervisor = supervisor
        self.requested = False

    def listen(self) -> None:
        """From now on SIGTERM, Ctrl-C and SIGUSR1, which schedulers send before they preempt, are noted.

        A process that does not end in time is ended by the kernel.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._note)

    @property
    def is_wanted(self) -> bool:
        return self.requested or os.getppid() != self.supervisor

    def check(self) -> None:
        if self.is_wanted:
            raise StopRequestedError

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.alarm(STOP_SECONDS)  # nothing handles SIGALRM


def die_with(supervisor: int) -> None:
    """Asks the kernel for SIGTERM at the supervisor's death (Linux), and leaves at once if it is dead already.

    The wish is made by the process itself: torchrun puts workers into sessions that no killpg of ours would reach.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:
        sys.exit(ExitCode.INTERRUPTED)


@contextmanager
def folder_locked(folder: RunFolder) -> Iterator[None]:
    """Waits until no other process trains in this folder. The kernel drops the lock when the process ends."""
    with folder.worker.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
