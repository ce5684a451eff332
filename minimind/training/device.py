"""Where a model is trained: which device, how many threads, which kernels, and when its memory is full."""

import os
from pathlib import Path
from typing import Literal

import torch

from minimind.errors import DeviceError


def find_device(demanded: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The demanded device; `auto` takes a GPU where there is one. Raises DeviceError if there is none."""
    if demanded == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if demanded == "cuda" and not torch.cuda.is_available():
        build = "this torch was built without CUDA" if torch.version.cuda is None else "torch finds no GPU"
        raise DeviceError(
            f"training.device is cuda, but {build} (torch {torch.__version__}); set training.device to auto or cpu, "
            "or install a CUDA build of torch and a driver"
        )
    return torch.device(demanded)


def choose_processes(demanded: int | Literal["auto"], device: torch.device, micro_batches: int) -> int:
    """How many processes, one a device, share the micro-batches of a step.

    `auto` is the most GPUs that can share them equally, and 1 on a CPU. Raises DeviceError for a number that is not
    there or does not divide them.
    """
    present = torch.cuda.device_count() if device.type == "cuda" else 1
    if demanded == "auto":
        return max(count for count in range(1, present + 1) if micro_batches % count == 0)
    if device.type == "cuda" and demanded > present:
        raise DeviceError(
            f"training.devices is {demanded}, and this machine has {present}; lower it, or set it to auto"
        )
    if micro_batches % demanded:
        raise DeviceError(
            f"training.devices is {demanded}, which cannot share the {micro_batches} micro-batches of a step equally; "
            "lower training.micro_batch_sequences, raise training.batch_tokens, or set training.devices to auto"
        )
    return demanded


def choose_kernels(device: torch.device) -> None:
    """On a CPU only kernels that give the same bytes each time, for this whole process; they cost nothing there.

    On a GPU whatever is fastest: with `warn_only`, attention's backward pass still adds up in any order, and without
    it cuDNN's attention is refused; either way the compiler tunes no kernel (torch 2.11 to 2.13).
    """
    torch.use_deterministic_algorithms(device.type == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property


def is_out_of_memory(error: BaseException) -> bool:
    """Whatever torch calls it: on a CPU, and for some calls on a GPU, it is a plain RuntimeError.

    Also where another error was met while it was on its way, as at the end of a recording that it broke off.
    """
    said = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    by_itself = isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in said)
    )
    return by_itself or (error.__context__ is not None and is_out_of_memory(error.__context__))


def hardware_name(device: torch.device) -> str:
    """The GPU's name, or the instruction set that torch's CPU kernels use, such as `AVX2`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.backends.cpu.get_cpu_capability())


def physical_cores() -> int:
    """Cores that this process may use by its affinity mask and its cgroup's quota; hyperthreads count once."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = _distinct_cores(usable) or len(usable)
    quota = _cgroup_cores()
    return max(1, min(cores, int(quota)) if quota else cores)


def _distinct_cores(processors: set[int]) -> int:
    """Different (socket, core) pairs among these processors; 0 where the kernel does not tell."""
    try:
        blocks = Path("/proc/cpuinfo").read_text().strip().split("\n\n")
    except OSError:
        return 0
    cores = set()
    for block in blocks:
        values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        if int(values.get("processor", -1)) in processors and "core id" in values:
            cores.add((values.get("physical id", "0"), values["core id"]))
    return len(cores)


def _cgroup_cores() -> float | None:
    """Cores' worth of time that the container grants (cgroup v2, then v1); None without a limit."""
    for quota_path, period_path in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            values = Path(quota_path).read_text().split()
            values += Path(period_path).read_text().split() if period_path else []
        except OSError:
            continue
        if len(values) == 2 and values[0] not in ("max", "-1"):
            return float(values[0]) / float(values[1])
    return None
