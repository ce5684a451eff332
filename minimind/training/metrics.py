"""metrics.jsonl: one line a step, and nothing in it that the last checkpoint does not know of."""

import json
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minimind.durable import write_whole
from minimind.errors import DivergenceError
from minimind.training.dynamics import Meter

FLUSH_SECONDS = 1.0
CLOCKED = ("time", "tokens_per_second", "mfu", "data_stall", "peak_memory_bytes")  # differ from run to run


class StepMetrics(NamedTuple):
    """What one step yields; the tensors stay on their device until they are written."""

    step: int  # steps done, this one included
    loss: Tensor  # scalar, nats per token, before the update
    gradient_norm: Tensor  # scalar, before clipping
    learning_rate: float
    guard: Tensor  # state of the StepGuard after this step
    observed: dict[str, Tensor] | None = None  # scalars by name, after a step that the Observer looked at


class MetricsFile:
    """Gathers steps for about a second, then writes them: reading a value off a GPU waits for it."""

    def __init__(self, path: Path, batch_tokens: int, max_skipped_steps: int, meter: Meter) -> None:
        self.path = path
        self.batch_tokens = batch_tokens
        self.max_skipped_steps = max_skipped_steps  # in a row; one more ends the training
        self.meter = meter
        self.waiting: list[tuple[StepMetrics, float]] = []

    def start_clock(self) -> None:
        """Tokens per second are measured from here to the next writing; evaluations and checkpoints do not count."""
        self.meter.restart()

    def add(self, metrics: StepMetrics) -> None:
        self.waiting.append((metrics, time.time()))

    def is_due(self) -> bool:
        return self.meter.seconds >= FLUSH_SECONDS

    def flush(self, hold_last: bool = False) -> dict[str, Any] | None:
        """Writes what is waiting; with `hold_last`, the last line is handed back instead, for an evaluation to fill.

        Raises DivergenceError after too many skipped steps in a row, with all up to then written.
        """
        rows = self._rows()
        self.waiting.clear()
        self.start_clock()
        held = rows.pop() if hold_last else None
        self.write(rows)
        return held

    def write(self, rows: list[dict[str, Any]]) -> None:
        with self.path.open("a") as handle:
            handle.writelines(json.dumps(row) + "\n" for row in rows)

    def cut_back(self, step: int, held: bool) -> None:
        """Drops what came after the checkpoint at `step`, and a line that a kill cut short."""
        last = step - 1 if held else step  # a held line is not written yet
        kept = [row for row in read_metrics(self.path) if row["step"] <= last]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    def sync(self) -> None:
        """What was written is on disk when this returns."""
        with self.path.open("a") as handle:
            os.fsync(handle.fileno())

    def _rows(self) -> list[dict[str, Any]]:
        if not self.waiting:
            return []
        tokens = len(self.waiting) * self.batch_tokens
        losses = torch.stack([metrics.loss for metrics, _ in self.waiting]).tolist()  # waits for the device
        norms = torch.stack([metrics.gradient_norm for metrics, _ in self.waiting]).tolist()
        guards = torch.stack([metrics.guard for metrics, _ in self.waiting]).tolist()
        speed, cost = tokens / self.meter.seconds, self.meter.read(tokens)
        rows: list[dict[str, Any]] = []
        for (metrics, at), loss, norm, (_, _, skipped, in_a_row) in zip(
            self.waiting, losses, norms, guards, strict=True
        ):
            row = self._row(metrics, at, loss, norm, round(skipped), speed)
            if in_a_row > self.max_skipped_steps:
                self.write(rows)
                raise DivergenceError(describe_divergence(row, self.max_skipped_steps))
            rows.append(row)
        rows[-1] |= cost
        return rows

    def _row(
        self, metrics: StepMetrics, at: float, loss: float, norm: float, skipped: int, speed: float
    ) -> dict[str, Any]:
        return {
            "step": metrics.step,
            "time": round(at, 3),
            "tokens": metrics.step * self.batch_tokens,
            "loss": loss if math.isfinite(loss) else None,
            "learning_rate": metrics.learning_rate,
            "gradient_norm": norm if math.isfinite(norm) else None,
            "skipped_steps": skipped,  # so far
            "tokens_per_second": round(speed, 1),
            **_values(metrics.observed or {}),
        }


def _values(tensors: dict[str, Tensor]) -> dict[str, float | None]:
    """On the host, in the order of their names and to six digits; None where there is no number."""
    if not tensors:
        return {}
    names = sorted(tensors)
    values = torch.stack([tensors[name] for name in names]).tolist()
    return {
        name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in zip(names, values, strict=True)
    }


class UnwrittenMetrics(MetricsFile):
    """Of a process that only takes its share of the batches. Another one writes.

    All see the same steps, each at a moment of its own. Only the one that writes ends a training that diverged: ended
    by another, it could not write what it has seen.
    """

    def __init__(self, path: Path, batch_tokens: int, max_skipped_steps: int, meter: Meter) -> None:
        super().__init__(path, batch_tokens, sys.maxsize, meter)

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Leaves the file alone."""

    def cut_back(self, step: int, held: bool) -> None:
        """Leaves the file alone."""


def describe_divergence(row: dict[str, Any], max_skipped_steps: int) -> str:
    values = ", ".join(
        f"{name} {'no number' if value is None else format(value, '.4g')}"
        for name, value in (("loss", row["loss"]), ("gradient norm", row["gradient_norm"]))
    )
    return (
        f"training diverged at step {row['step']}: {values}, and more than {max_skipped_steps} steps in a row had to "
        "be skipped (training.max_skipped_steps); "
        f"lower training.optimizer.learning_rate (it was {row['learning_rate']:g} at this step) and "
        "matrix_learning_rate, or lengthen training.optimizer.warmup_ratio"
    )


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """All whole lines; none if there is no file."""
    if path.exists():
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)
