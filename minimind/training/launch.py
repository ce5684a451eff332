"""Starts the training process, watches it, and sees to it that it never outlives its supervisor."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import minimind
from minimind.errors import DivergenceError, OutOfMemoryError, TrainingError, TrainingInterruptedError, UserError
from minimind.training.plan import Plan
from minimind.training.process import STOP_SECONDS, ExitCode, RunFolder

logger = logging.getLogger(__name__)

WATCH_SECONDS = 0.5
LOG_LINES = 30  # of a failed process, for the error


def run_training_process(
    folder: RunFolder, plan: Plan, watch: Callable[[], None], arguments: tuple[str, ...] = ()
) -> None:
    """Returns when the process has done its work; `watch` is called about twice a second meanwhile.

    Raises TrainingInterruptedError if it was told to stop, DivergenceError, OutOfMemoryError, OSError for a full disk,
    UserError for what it cannot use, and TrainingError with the end of its log for every other end. However this is
    left, the process is gone.
    """
    end_leftover(folder)
    with started_process(folder, plan, arguments) as process:
        while process.poll() is None:
            watch()
            with suppress(subprocess.TimeoutExpired):
                process.wait(WATCH_SECONDS)
        watch()
    if process.returncode != ExitCode.DONE:
        raise error_for(process.returncode, folder, plan)


@contextmanager
def started_process(folder: RunFolder, plan: Plan, arguments: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """The process in a session of its own, writing to a file: it holds no pipe or terminal of its supervisor."""
    command = [sys.executable, "-m", "minimind.training", str(folder.path), "--supervisor", str(os.getpid())]
    command += ["--processes", str(plan.processes)] if plan.processes > 1 else []
    command += ["--started", str(time.monotonic())]
    with folder.log.open("ab") as log:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=environment_of(plan), start_new_session=True,
        )  # fmt: skip
    try:
        folder.worker.write_text(json.dumps({"pid": process.pid}) + "\n")
        yield process
    finally:
        stop(process)
        end_leftover(folder)  # workers whose torchrun was killed


def environment_of(plan: Plan) -> Mapping[str, str]:
    """The numeric libraries read their threads when they are loaded.

    Threads that wait for each other spin only briefly: on a busy machine spinning takes the core that the other one
    needs (two threads on two cores with a load of 8: 600 tokens/s by libgomp's default, 1,900 with this).
    """
    environment = {"GOMP_SPINCOUNT": "1000"} | os.environ
    environment |= {"MKL_DYNAMIC": "FALSE", "OMP_DYNAMIC": "FALSE"}
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    environment |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    if plan.threads:
        environment |= {"OMP_NUM_THREADS": str(plan.threads), "MKL_NUM_THREADS": str(plan.threads)}
    library = str(Path(minimind.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))
    return environment | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}  # no module is taken from the current folder


def stop(process: subprocess.Popen[bytes]) -> None:
    """TERM, then KILL of the whole session. Ctrl-C while it waits kills at once.

    Another signal that raises here, as a second TERM does in a flow, is raised when the process has ended: it may be
    writing its checkpoint.
    """
    if process.poll() is not None:
        return
    deadline, raised = time.monotonic() + STOP_SECONDS + 5, None
    try:
        process.terminate()
        while process.poll() is None and (left := deadline - time.monotonic()) > 0:
            try:
                process.wait(left)
            except subprocess.TimeoutExpired:
                logger.warning("the training process %d did not end on SIGTERM and is killed", process.pid)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - Prefect's is no Exception, and no import of this module
                raised = error
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if raised:
        raise raised


def end_leftover(folder: RunFolder) -> None:
    """Ends the processes that still train in this folder after their supervisor was killed."""
    pids = training_pids(folder)
    if not pids:
        return
    logger.warning("%s still train in %s after their supervisor ended; they are told to stop", pids, folder.path)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in training_pids(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS + 5
        while training_pids(folder) and time.monotonic() < deadline:
            time.sleep(0.05)


def training_pids(folder: RunFolder) -> list[int]:
    """All living processes that train in this folder: one, or torchrun's and those that it started."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if trains_in(folder, int(path.name))]


def trains_in(folder: RunFolder, pid: int) -> bool:
    """True if this pid is a living training process of this folder, and not another one that got its number."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"minimind.training" in words and os.fsencode(folder.path) in words


def error_for(code: int, folder: RunFolder, plan: Plan) -> Exception:
    """The error that tells how the process ended."""
    lines = folder.log.read_text(errors="replace").splitlines()
    code = 128 - code if code > 128 else code  # torchrun's worker was killed by a signal
    if code in (ExitCode.INTERRUPTED, -signal.SIGTERM):
        return TrainingInterruptedError("training was told to stop; run again to continue from its last checkpoint")
    if code == ExitCode.DIVERGED:
        return DivergenceError(last_error(lines))
    if code == ExitCode.REFUSED:
        return UserError(last_error(lines))
    if code == ExitCode.OUT_OF_MEMORY:
        return OutOfMemoryError(describe_memory(plan))
    if code == ExitCode.DISK_FULL:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.path))
    if code == -signal.SIGKILL:
        return OutOfMemoryError(
            "the training process was killed by signal 9, which the kernel sends when memory runs out (then lower "
            "training.micro_batch_sequences); run again to continue from its last checkpoint"
        )
    ending = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    tail = "\n".join(lines[-LOG_LINES:])
    return TrainingError(f"the training process {ending} and left no model; the end of its log:\n{tail}")


def last_error(lines: list[str]) -> str:
    return next((line.partition(" ERROR ")[2] for line in reversed(lines) if " ERROR " in line), "it says no reason")


def describe_memory(plan: Plan) -> str:
    sequences = plan.micro_batch_sequences
    change = (
        f"lower training.micro_batch_sequences (it is {sequences}); batch_tokens can stay as it is"
        if sequences > 1
        else "training.micro_batch_sequences is 1 already: choose a smaller model or training.sequence_length"
    )
    return f"training does not fit into the memory of this {plan.device}; {change}"
