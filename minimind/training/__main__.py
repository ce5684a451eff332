"""`python -m minimind.training FOLDER [--supervisor PID] [--measure SECONDS]`: trains by the plan in the folder.

Needs torch, numpy, pyarrow, pydantic and safetensors. The exit code says how it ended (`process.ExitCode`), the last
line of the log why.
"""

import argparse
import errno
import json
import logging
import os
import sys
from pathlib import Path

from minimind.training.process import ExitCode, RunFolder, StopRequest, StopRequestedError, die_with, folder_locked


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m minimind.training")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--supervisor", type=int, default=os.getppid())
    parser.add_argument("--measure", type=float, default=None)
    arguments = parser.parse_args()
    die_with(arguments.supervisor)
    stop = StopRequest(arguments.supervisor)
    stop.listen()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder = RunFolder(arguments.folder)
    with folder_locked(folder):
        return run(folder, stop, arguments.measure)


def run(folder: RunFolder, stop: StopRequest, measured_seconds: float | None) -> int:
    from minimind.errors import (
        DivergenceError,
        UserError,
    )  # torch takes seconds to import; a stop in between is already noted
    from minimind.training import loop

    try:
        if measured_seconds is None:
            loop.train(folder, stop)
        else:
            folder.summary.write_text(json.dumps(loop.measure(folder, stop, measured_seconds)))
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
        if code is None:
            raise
        logging.getLogger(__name__).error("%s", error)
        return code
    return ExitCode.DONE


def exit_code_of(error: Exception) -> ExitCode | None:
    """Disk and memory that are full, as the libraries say it; None for anything else."""
    text = str(error)
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text:
        return ExitCode.DISK_FULL
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
        return ExitCode.OUT_OF_MEMORY
    return None


if __name__ == "__main__":
    sys.exit(main())
