"""How many sequences fit into the device's memory at once: tried in a process of its own, before training starts.

`python -m minimind.training.fit PLAN SHARDS SUPERVISOR SIZE...` takes two steps by the plan with each number of
sequences in a micro-batch, and prints the numbers that fit. If it is ended for using too much, the last one printed is
the answer.
"""

import gc
import logging
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from minimind.errors import OutOfMemoryError, TrainingError
from minimind.machine import container_memory
from minimind.training.device import is_out_of_memory
from minimind.training.holdout import Holdout
from minimind.training.launch import environment_of
from minimind.training.loop import Trainer
from minimind.training.plan import Plan
from minimind.training.process import ExitCode, StopRequest, die_with

logger = logging.getLogger(__name__)

USED_SHARE = 0.9  # of free memory; the rest is for fragments, evaluations and whoever else uses the device
MOST_TOKENS = {"cuda": 131_072, "cpu": 4_096}  # of a micro-batch; more of them are no faster


class Probe(NamedTuple):
    peak_bytes: int  # weights, optimizer and activations, at the highest
    free_bytes: int  # before


def find_micro_batch(plan: Plan, shards: Path, folder: Path) -> int:
    """The most sequences that fit for this plan on this machine; the plan to be tried is written into `folder`.

    A divisor of each process's part of the batch, so that accumulating makes exactly the batch that the YAML says.
    Raises OutOfMemoryError if not even one sequence fits.
    """
    path = folder / "plan-to-fit.json"
    plan.write(path)
    most = max(1, MOST_TOKENS[plan.device] // plan.sequence_length)
    fitting = try_in_process(plan, path, shards, divisors(plan.batch_sequences // plan.processes, most))
    if not fitting:
        raise OutOfMemoryError(
            f"not even one sequence fits into the memory of this {plan.device}; "
            "choose a smaller training.preset or training.sequence_length"
        )
    size = fitting[-1]
    logger.info("training: micro-batches of %d sequences, %d of them a step", size, plan.batch_sequences // size)
    return size


def divisors(number: int, most: int) -> list[int]:
    return [size for size in range(1, min(number, most) + 1) if number % size == 0]


def try_in_process(plan: Plan, path: Path, shards: Path, sizes: Sequence[int]) -> list[int]:
    command = [
        sys.executable,
        "-m",
        "minimind.training.fit",
        str(path),
        str(shards),
        str(os.getpid()),
        *map(str, sizes),
    ]
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment_of(plan)
    )
    if ended.returncode not in (ExitCode.DONE, -signal.SIGKILL):  # the kernel's way of saying that memory ran out
        raise TrainingError(f"the trial of micro-batches ended with {ended.returncode}:\n{ended.stderr[-2_000:]}")
    return [int(line) for line in ended.stdout.split()]


def fitting_sizes(sizes: Sequence[int], try_step: Callable[[int], Probe]) -> Iterator[int]:
    """Those of the ascending `sizes` whose step leaves a tenth of free memory alone.

    Memory grows evenly with the sequences, so that from two sizes the next is foreseen: on a CPU, trying one that does
    not fit would cost other programs their memory.
    """
    found: list[tuple[int, Probe]] = []
    limit = math.inf  # known from the first trial on; later ones find their own memory in use
    for size in sizes:
        if len(found) > 1 and foreseen_bytes(size, *found[-2:]) > limit:
            return
        try:
            probe = try_step(size)
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                return
            raise
        if not found:
            limit = USED_SHARE * probe.free_bytes
        if probe.peak_bytes > limit:
            return
        found.append((size, probe))
        yield size


def foreseen_bytes(size: int, smaller: tuple[int, Probe], larger: tuple[int, Probe]) -> float:
    slope = (larger[1].peak_bytes - smaller[1].peak_bytes) / (larger[0] - smaller[0])
    return larger[1].peak_bytes + slope * (size - larger[0])


def try_step(plan: Plan, shards: Path, sequences: int) -> Probe:
    """What a trial takes by itself: nothing of it is left on the device for the next one."""
    device = torch.device(plan.device)
    free = free_bytes(device)
    take_steps(plan, shards, sequences)
    peak = peak_bytes(device)
    give_back_memory(device)
    return Probe(peak, free)


def take_steps(plan: Plan, shards: Path, sequences: int) -> None:
    """Two steps in this process, the second with the optimizer's state beside the activations, and an evaluation.

    Not compiled, which would take minutes for all sizes and needs less memory. A recording keeps its memory while
    something else computes, so that the evaluation has to find room beside what a step took.
    """
    changes = {"micro_batch_sequences": sequences, "accumulation": 1, "processes": 1, "compiled": False}
    trainer = Trainer(plan.model_copy(update=changes), shards)
    stop = StopRequest(os.getppid())
    for _ in range(2):
        trainer.train_step(stop).loss.item()  # waits for the device
    kept = held_by_a_recording(torch.device(plan.device)) if plan.compiled else None
    trainer.evaluate(Holdout(shards, plan.sequence_length, sequences, sequences), stop)
    del kept


def held_by_a_recording(device: torch.device) -> torch.Tensor | None:
    """As much memory as was in use at the highest, beyond what is now."""
    if device.type != "cuda":
        return None
    size = torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)
    torch.cuda.empty_cache()  # what was split up for a step would not be found for one piece of that size
    return torch.empty(size, dtype=torch.uint8, device=device)


def give_back_memory(device: torch.device) -> None:
    """All that nobody uses; a GPU's peak begins anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def free_bytes(device: torch.device) -> int:
    """Of the GPU; of a CPU, what programs may take without swapping, or less where the container has a limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    container = container_memory()
    return min(available, container.limit - container.used) if container else available


def peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    plan, shards, supervisor = Plan.read(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
    die_with(supervisor)
    if plan.threads:
        torch.set_num_threads(plan.threads)
    for size in fitting_sizes([int(text) for text in sys.argv[4:]], lambda size: try_step(plan, shards, size)):
        sys.stdout.write(f"{size}\n")
        sys.stdout.flush()
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
