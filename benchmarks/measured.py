"""What a command costs: wall seconds, CPU seconds and peak memory of all its processes, and what else was running."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

INTERVAL_SECONDS = 0.1


@dataclass(frozen=True)
class Measured:
    seconds: float  # from the start of the process to its end
    cpu_seconds: float  # of all its processes, user and system, as last seen
    peak_rss_mb: float  # sum of resident memory over all its processes; pages that several share count for each
    peak_pss_mb: float  # the same with shared pages divided among their users, taken whenever the sum is at a new high
    other_cores: float  # that other processes used meanwhile, on average

    def as_dict(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in asdict(self).items()}


class CommandError(RuntimeError):
    """A measured command failed; says how, with the end of its log."""


def measure(command: Sequence[str], log: Path, cores: int, environment: Mapping[str, str] | None = None) -> Measured:
    """Runs a command on at most `cores` cores, its output in `log`. Raises CommandError if it fails."""
    usable = sorted(os.sched_getaffinity(0))[:cores]
    busy, started = busy_seconds(), time.perf_counter()
    with log.open("wb") as output:
        process = psutil.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | dict(environment or {}),
            preexec_fn=lambda: os.sched_setaffinity(0, usable),
        )
        watched = Watched()
        try:
            while not ended(process):
                watched.look(process)
        except BaseException:
            end_all(process)
            raise
    seconds = time.perf_counter() - started
    if process.returncode:
        raise CommandError(
            f"{' '.join(command)} ended with {process.returncode} after {seconds:.0f} s; the end of {log}:\n"
            + log.read_text(errors="replace")[-2_000:]
        )
    cpu = sum(watched.cpu_seconds.values())
    other = max(busy_seconds() - busy - cpu, 0) / seconds
    return Measured(seconds, cpu, watched.peak_rss / 1e6, watched.peak_pss / 1e6, other)


def ended(process: psutil.Popen) -> bool:
    try:
        process.wait(INTERVAL_SECONDS)
    except psutil.TimeoutExpired:
        return False
    return True


def end_all(process: psutil.Popen) -> None:
    for one in [*process.children(recursive=True), process]:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue


@dataclass
class Watched:
    """What has been seen of a process and its descendants."""

    cpu_seconds: dict[int, float] = field(default_factory=dict)
    peak_rss: int = 0
    peak_pss: int = 0

    def look(self, process: psutil.Popen) -> None:
        rss, seen = 0, []
        for one in family(process):
            try:
                with one.oneshot():
                    times, memory = one.cpu_times(), one.memory_info()
            except psutil.NoSuchProcess:
                continue
            self.cpu_seconds[one.pid] = times.user + times.system
            rss += memory.rss
            seen.append(one)
        if rss > 1.01 * self.peak_rss:
            self.peak_pss = max(self.peak_pss, sum(proportional_bytes(one) for one in seen))
        self.peak_rss = max(self.peak_rss, rss)


def family(process: psutil.Popen) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def proportional_bytes(process: psutil.Process) -> int:
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def busy_seconds() -> float:
    """Of all cores of this machine since it started."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + getattr(times, "irq", 0) + getattr(times, "softirq", 0)


def describe_load() -> dict[str, Any]:
    one, five, fifteen = os.getloadavg()
    return {"load_1": round(one, 2), "load_5": round(five, 2), "load_15": round(fifteen, 2)}
