"""Prefect's task runners by name, each as it is opened for the parts of one stage."""

import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

from minimind.errors import ServerError, UserError
from minimind.parts import cores

PARTS_AT_ONCE = min(cores(), 4)  # of a machine; each has its share of the cores and of the memory
VARIABLE = "MINIMIND_TASK_RUNNER"
CONNECT_SECONDS = 30
FORMS = re.compile(r"threads|processes|dask|ray|dask:(?:tcp|tls)://\S+|ray://\S+")
IN_WORDS = "threads, processes, dask, ray, dask:tcp://HOST:8786 or ray://HOST:10001"


def runner_name(asked: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """What is asked for, else MINIMIND_TASK_RUNNER, else `threads`; raises UserError if it cannot be had here."""
    name = asked or environment.get(VARIABLE) or "threads"
    if not FORMS.fullmatch(name):
        raise UserError(f"the task runner {name!r} is unknown; these are known: {IN_WORDS}")
    library = re.match(r"\w+", name)[0]  # type: ignore[index]
    if library in ("dask", "ray") and not (find_spec(f"prefect_{library}") and find_spec(library)):
        raise UserError(
            f"the task runner {name} needs the extra [{library}]; install it with "
            f"pip install -c requirements.lock -e '.[{library}]', or choose threads or processes"
        )
    return name


def opened(name: str) -> AbstractContextManager[Any]:
    """The task runner of this name, on this machine or on the cluster that it names, until the context is left."""
    kind, _, address = name.partition(":")
    return OPENED[kind](address)


def threads(address: str) -> AbstractContextManager[Any]:
    from prefect.task_runners import ThreadPoolTaskRunner

    return ThreadPoolTaskRunner(max_workers=PARTS_AT_ONCE)


def processes(address: str) -> AbstractContextManager[Any]:
    from prefect.task_runners import ProcessPoolTaskRunner

    return ProcessPoolTaskRunner(max_workers=PARTS_AT_ONCE, initializer=end_with_the_run, initargs=(os.getpid(),))


def end_with_the_run(parent: int) -> None:
    """Asks the kernel for this process's end at that of the run (Linux); a pool's process would wait for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def dask(address: str) -> Iterator[Any]:
    """A scheduler that runs already, or one with PARTS_AT_ONCE workers on the loopback interface."""
    from prefect_dask import DaskTaskRunner

    local = {
        "n_workers": PARTS_AT_ONCE, "threads_per_worker": 1, "memory_limit": 0,  # a part bounds its memory itself
        "host": "127.0.0.1", "dashboard_address": None,
    }  # fmt: skip
    with DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=local) as runner:
        with said_if_unreachable(f"dask:{address}"):
            runner.client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        yield runner


@contextmanager
def ray(address: str) -> Iterator[Any]:
    """A cluster that runs already, or one of this machine; a part takes as many of its cores as are its share."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from prefect_ray import RayTaskRunner
    from prefect_ray.context import remote_options

    local = {"include_dashboard": False, "num_cpus": cores()}
    runner = RayTaskRunner(address=f"ray:{address}") if address else RayTaskRunner(init_kwargs=local)
    with ExitStack() as stack:
        with said_if_unreachable(f"ray:{address}"):
            stack.enter_context(runner)
        stack.enter_context(remote_options(num_cpus=cores() // PARTS_AT_ONCE))
        yield runner


@contextmanager
def said_if_unreachable(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise ServerError(
            f"the cluster {name} has no worker that answers within {CONNECT_SECONDS} s "
            f"({' '.join(str(error).split())}); start it, or choose another task runner with --runner or {VARIABLE}"
        ) from None


OPENED: Mapping[str, Callable[[str], AbstractContextManager[Any]]] = {
    "threads": threads, "processes": processes, "dask": dask, "ray": ray,
}  # fmt: skip
