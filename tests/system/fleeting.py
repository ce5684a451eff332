"""Processes and files that others end or remove while they are looked at: what is gone counts as not there."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from flows.servers import is_over
from tests.system.patience import wait_until


def words_of(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def children_of(process: psutil.Process) -> list[psutil.Process]:
    """Theirs too."""
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def naming(path: Path) -> list[psutil.Process]:
    """Processes in whose command line or environment a path stands."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if any(str(path) in text for text in (*process.cmdline(), *process.environ().values())):
                found.append(process)
    return found


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL to all of them before one can do anything about another's end; returns when they run no more."""
    killed = list(processes)
    send(killed, signal.SIGKILL)
    wait_until(lambda: all(map(is_over, killed)), 10, "end of what was killed", pause=0.01)


def send(processes: Iterable[psutil.Process], number: int) -> None:
    """A signal to each that is still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def stands_still(process: psutil.Process) -> bool:
    """Whether SIGSTOP has stopped it."""
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def files_below(folder: Path) -> Iterator[Path]:
    """Without links, and without what cannot be entered or is gone: `Path.rglob` would end with an error there."""
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if path.is_file() and not path.is_symlink():
                yield path
