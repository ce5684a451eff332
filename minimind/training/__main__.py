"""`python -m minimind.training FOLDER [--supervisor PID] [--processes N] [--measure SECONDS] [--started TIME]`: trains.

By the plan in FOLDER; TIME is of the machine's monotonic clock.

With several processes this one starts and watches them, as torchrun does.

Needs torch, numpy, pyarrow, pydantic and safetensors. The exit code says how it ended (`process.ExitCode`), the last
line of the log why.
"""

import argparse
import errno
import json
import logging
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from minimind.training.process import ExitCode, RunFolder, StopRequest, StopRequestedError, die_with, folder_locked

FAILED = 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m minimind.training")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--supervisor", type=int, default=os.getppid())
    parser.add_argument("--measure", type=float, default=None)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--started", type=float, default=time.monotonic())
    arguments = parser.parse_args()
    die_with(arguments.supervisor)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder = RunFolder(arguments.folder)
    if arguments.processes > 1:
        from minimind.training.world import run_workers

        passed_on = ["--started", str(arguments.started)]
        passed_on += [] if arguments.measure is None else ["--measure", str(arguments.measure)]
        return run_workers(folder, arguments.processes, passed_on)
    stop = StopRequest(arguments.supervisor)
    stop.listen()
    with folder_locked(folder) if is_first() else nullcontext():
        code = run(folder, stop, arguments.measure, arguments.started)
        if "RANK" in os.environ:
            from minimind.training.world import leave

            leave(code)
        return code


def is_first() -> bool:
    """Whether this is the process that writes; torchrun numbers those that it starts."""
    return os.environ.get("RANK", "0") == "0"


def run(folder: RunFolder, stop: StopRequest, measured_seconds: float | None, started: float | None = None) -> int:
    from minimind.errors import (
        DivergenceError,
        UserError,
    )  # torch takes seconds to import; a stop in between is already noted
    from minimind.training import loop

    try:
        if measured_seconds is None:
            loop.train(folder, stop, started)
        else:
            measured = loop.measure(folder, stop, measured_seconds, started)
            if is_first():
                folder.summary.write_text(json.dumps(measured))
    except StopRequestedError:
        return ExitCode.INTERRUPTED
    except DivergenceError as error:
        logging.getLogger(__name__).error("%s", error)
        return ExitCode.DIVERGED
    except UserError as error:
        logging.getLogger(__name__).error("%s", error)
        return ExitCode.REFUSED
    except Exception as error:
        code = exit_code_of(error)
        if code is None and "RANK" in os.environ:
            # a warning: the reason is that of the process that failed first, and said so as an error
            logging.getLogger(__name__).warning("this process of several failed", exc_info=True)
            return FAILED
        if code is None:
            raise
        logging.getLogger(__name__).error("%s", error)
        return code
    return ExitCode.DONE


def exit_code_of(error: Exception) -> ExitCode | None:
    """Disk and memory that are full, as the libraries say it; None for anything else."""
    from minimind.training.device import is_out_of_memory

    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        return ExitCode.DISK_FULL
    return ExitCode.OUT_OF_MEMORY if is_out_of_memory(error) else None


if __name__ == "__main__":
    sys.exit(main())
