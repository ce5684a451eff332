"""Work that falls into parts: a stage says what they are, and somebody else where they are worked on.

A part names files by their paths and holds no data. Whoever works on it sees the store under the same paths, in another
thread, process or machine. What a part yields depends on the part alone, so that neither the number of parts nor who
works on them shapes a result.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

Report = Callable[[float, float | None, str], None]  # done, total (None: unknown), text


def silent(done: float, total: float | None, text: str) -> None:
    """The report of a part that nobody watches."""


class Part(Protocol):
    """What the stages' parts have in common; they can be pickled, and working on one twice does no harm."""

    @property
    def name(self) -> str:
        """As a list of running tasks shows it."""

    @property
    def size(self) -> float:
        """Its weight in the progress, in any unit that the parts share."""


APart = TypeVar("APart", bound=Part)
Result = TypeVar("Result")


class Workers(Protocol):
    """Where parts are worked on."""

    @property
    def at_once(self) -> int:
        """How many parts one machine works on at the same time; each has that share of its cores and memory."""

    @property
    def elsewhere(self) -> bool:
        """Whether that is in other processes than this one."""

    def each(
        self, work: Callable[[APart, Report], Result], parts: Sequence[APart], report: Report
    ) -> Iterator[tuple[APart, Result]]:
        """Every part with what `work` gives for it, as they are done.

        Raises what the first failed part raised, when no other part is worked on any more.
        """


class InTurn:
    """One part after another, in this process."""

    at_once = 1
    elsewhere = False

    def each(
        self, work: Callable[[APart, Report], Result], parts: Sequence[APart], report: Report
    ) -> Iterator[tuple[APart, Result]]:
        if len(parts) == 1:
            yield parts[0], work(parts[0], report)
            return
        done, total = 0.0, sum(part.size for part in parts)
        for number, part in enumerate(parts, start=1):

            def report_part(
                share: float, whole: float | None, text: str, before: float = done, part: Part = part, n: int = number
            ) -> None:
                within = part.size * share / whole if whole else 0.0
                report(before + within, total, f"{text}, part {n} of {len(parts)}")

            yield part, work(part, report_part)
            done += part.size


IN_TURN = InTurn()


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_ahead(futures: Iterator[Future[Any]]) -> Iterator[Any]:
    """Their results, each given when the next one has been begun."""
    waiting = next(futures, None)
    while waiting is not None:
        following = next(futures, None)
        yield waiting.result()
        waiting = following
