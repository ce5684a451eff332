"""What a person sees while a run works: bars in a terminal, plain lines elsewhere, all on stderr."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from minimind.store import Report

PLAIN_LINE_SECONDS = 5.0


def _nobody(stage: str, done: float, total: float | None, text: str) -> None:
    """Listens to nothing: a run without a person in front of it."""


listener: ContextVar[Report] = ContextVar("listener", default=_nobody)


@contextmanager
def shown_progress() -> Iterator[None]:
    """Shows the library's log lines and every stage's progress while the block runs."""
    console = Console(stderr=True)
    display = _Bars(console) if console.is_terminal else _Lines()
    handler = _log_handler(console)
    library = logging.getLogger("minimind")
    library.addHandler(handler)
    library.setLevel(logging.INFO)
    token = listener.set(display.report)
    try:
        with display:
            yield
    finally:
        listener.reset(token)
        library.removeHandler(handler)


def _log_handler(console: Console) -> logging.Handler:
    if console.is_terminal:
        return RichHandler(console=console, show_path=False, show_level=False, markup=False, highlighter=None)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    return handler


class _Bars:
    """One live bar, for the stage that is working."""

    def __init__(self, console: Console) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.fields[stage]:<10}"),
            BarColumn(30),
            TextColumn("{task.description}"),
        )
        self.progress = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)
        self.stage: str | None = None
        self.bar: TaskID | None = None

    def __enter__(self) -> None:
        self.progress.start()

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def report(self, stage: str, done: float, total: float | None, text: str) -> None:
        if self.bar is None or stage != self.stage:
            if self.bar is not None:
                self.progress.remove_task(self.bar)
            self.stage, self.bar = stage, self.progress.add_task(text, stage=stage, total=total)
        self.progress.update(self.bar, completed=done, total=total, description=text)


class _Lines:
    """A line every few seconds: for logs, pipes and CI."""

    def __init__(self) -> None:
        self.said_at = 0.0

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None

    def report(self, stage: str, done: float, total: float | None, text: str) -> None:
        now = time.monotonic()
        if now - self.said_at >= PLAIN_LINE_SECONDS:
            self.said_at = now
            share = f" {done / total:4.0%}" if total else ""
            print(f"{time.strftime('%H:%M:%S')} {stage}:{share} {text}", file=sys.stderr, flush=True)  # noqa: T201
