"""How many sequences fit into the device's memory at once: tried in processes of their own, before training starts.

`python -m minimind.training.fit PLAN SHARDS SEQUENCES` takes two steps by the plan with so many sequences in a
micro-batch and prints what that took. A process that runs out of memory leaves nothing behind, whoever ended it.
"""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from minimind.errors import OutOfMemoryError
from minimind.training.loop import Trainer
from minimind.training.plan import Plan
from minimind.training.process import ExitCode, StopRequest

logger = logging.getLogger(__name__)

USED_SHARE = 0.9  # of free memory; the rest is for fragments, evaluations and whoever else uses the device
MOST_TOKENS = {"cuda": 131_072, "cpu": 4_096}  # of a micro-batch; more of them are no faster


@dataclass(frozen=True)
class Probe:
    peak_bytes: int  # weights, optimizer and activations, at the highest
    free_bytes: int  # before


TryStep = Callable[[int], Probe]  # raises OutOfMemoryError


def fit_micro_batch(batch_sequences: int, most: int, try_step: TryStep) -> int:
    """The largest divisor of `batch_sequences`, up to `most`, whose step leaves a tenth of free memory alone.

    A divisor, so that accumulating makes exactly the batch that the YAML says. Memory grows evenly with the sequences:
    two small steps tell about how many fit, and that many are then tried, or else the next fewer. Raises
    OutOfMemoryError if not even one sequence fits.
    """
    sizes = [size for size in range(1, min(batch_sequences, most) + 1) if batch_sequences % size == 0]
    found = fits(1, try_step)
    if found is None:
        raise OutOfMemoryError(
            "not even one sequence fits into memory; choose a smaller training.preset or training.sequence_length"
        )
    likely = sizes
    if len(sizes) > 1:
        second = fits(sizes[1], try_step)
        if second is None:
            return 1
        slope = max(0.0, (second.peak_bytes - found.peak_bytes) / (sizes[1] - 1))
        room = USED_SHARE * found.free_bytes - found.peak_bytes
        likely = [size for size in sizes if slope * (size - 1) <= room]
    for size in reversed(likely):
        if size <= sizes[min(1, len(sizes) - 1)] or fits(size, try_step):
            return size
    return 1


def fits(size: int, try_step: TryStep) -> Probe | None:
    try:
        probe = try_step(size)
    except OutOfMemoryError:
        logger.info("training: a micro-batch of %d sequences does not fit into memory", size)
        return None
    if probe.peak_bytes > USED_SHARE * probe.free_bytes:
        logger.info(
            "training: a micro-batch of %d sequences takes %.1f of %.1f GB", size, probe.peak_bytes / 1e9,
            probe.free_bytes / 1e9,
        )  # fmt: skip
        return None
    return probe


def find_micro_batch(plan: Plan, shards: Path, folder: Path) -> int:
    """What fits for this plan on this machine; the plan to be tried is written into `folder`."""
    path = folder / "plan-to-fit.json"
    plan.write(path)
    most = max(1, MOST_TOKENS[plan.device] // plan.sequence_length)
    size = fit_micro_batch(plan.batch_sequences, most, lambda sequences: try_in_process(path, shards, sequences))
    logger.info("training: micro-batches of %d sequences, %d of them a step", size, plan.batch_sequences // size)
    return size


def try_in_process(path: Path, shards: Path, sequences: int) -> Probe:
    command = [sys.executable, "-m", "minimind.training.fit", str(path), str(shards), str(sequences)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ended.returncode in (ExitCode.OUT_OF_MEMORY, -signal.SIGKILL):  # the kernel's way of saying it on a CPU
        raise OutOfMemoryError(f"{sequences} sequences do not fit")
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr[-2_000:]}")
    return Probe(**json.loads(ended.stdout.splitlines()[-1]))


def try_step(plan: Plan, shards: Path, sequences: int) -> Probe:
    """Two steps in this process: the second one has the optimizer's state beside the activations."""
    if plan.threads:
        torch.set_num_threads(plan.threads)
    free = free_bytes(torch.device(plan.device))
    trainer = Trainer(plan.model_copy(update={"micro_batch_sequences": sequences, "accumulation": 1}), shards)
    for _ in range(2):
        trainer.train_step(StopRequest(os.getppid())).loss.item()  # waits for the device
    return Probe(peak_bytes(trainer.device), free)


def free_bytes(device: torch.device) -> int:
    """Of the GPU; of a CPU, what programs may take without swapping, or less where the container has a limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text()) - int(
            Path("/sys/fs/cgroup/memory.current").read_text()
        )
    except (OSError, ValueError):  # no container, or one without a limit
        return available
    return min(available, limit)


def peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    plan, shards, sequences = Plan.read(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
    try:
        probe = try_step(plan, shards, sequences)
    except (MemoryError, RuntimeError) as error:  # torch's OutOfMemoryError is a RuntimeError
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            return ExitCode.OUT_OF_MEMORY
        raise
    sys.stdout.write(json.dumps(vars(probe)) + "\n")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
