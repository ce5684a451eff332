"""metrics.jsonl: one line a step, and nothing in it that the last checkpoint does not know of."""

import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minimind.errors import DivergenceError

FLUSH_SECONDS = 1.0


class StepMetrics(NamedTuple):
    """What one step yields; the tensors stay on their device until they are written."""

    step: int  # steps done, this one included
    loss: Tensor  # scalar, nats per token, before the update
    gradient_norm: Tensor  # scalar, before clipping
    learning_rate: float


class MetricsFile:
    """Gathers steps for about a second, then writes them: reading a value off a GPU waits for it."""

    def __init__(self, path: Path, batch_tokens: int, norm_may_overflow: bool) -> None:
        self.path = path
        self.batch_tokens = batch_tokens
        self.norm_may_overflow = norm_may_overflow  # under fp16 the scaler skips such a step
        self.waiting: list[tuple[StepMetrics, float]] = []
        self.started = time.monotonic()

    def start_clock(self) -> None:
        """Tokens per second are measured from here to the next writing; evaluations and checkpoints do not count."""
        self.started = time.monotonic()

    def add(self, metrics: StepMetrics) -> None:
        self.waiting.append((metrics, time.time()))

    def is_due(self) -> bool:
        return time.monotonic() - self.started >= FLUSH_SECONDS

    def flush(self, hold_last: bool = False) -> dict[str, Any] | None:
        """Writes what is waiting; with `hold_last`, the last line is handed back instead, for an evaluation to fill.

        Raises DivergenceError if a loss or gradient is not finite.
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
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
        temporary.rename(self.path)

    def sync(self) -> None:
        """What was written is on disk when this returns."""
        with self.path.open("a") as handle:
            os.fsync(handle.fileno())

    def _rows(self) -> list[dict[str, Any]]:
        if not self.waiting:
            return []
        speed = len(self.waiting) * self.batch_tokens / max(time.monotonic() - self.started, 1e-9)
        losses = torch.stack([metrics.loss for metrics, _ in self.waiting]).tolist()  # waits for the device
        norms = torch.stack([metrics.gradient_norm for metrics, _ in self.waiting]).tolist()
        return [
            self._row(metrics, at, loss, norm, speed)
            for (metrics, at), loss, norm in zip(self.waiting, losses, norms, strict=True)
        ]

    def _row(self, metrics: StepMetrics, at: float, loss: float, norm: float, speed: float) -> dict[str, Any]:
        if not math.isfinite(loss) or not (math.isfinite(norm) or self.norm_may_overflow):
            raise DivergenceError(
                f"training diverged at step {metrics.step}: loss {loss}, gradient norm {norm}; "
                f"lower training.optimizer.learning_rate (it was {metrics.learning_rate:g} at this step) "
                "or lengthen training.optimizer.warmup_ratio"
            )
        return {
            "step": metrics.step,
            "time": round(at, 3),
            "tokens": metrics.step * self.batch_tokens,
            "loss": loss,
            "learning_rate": metrics.learning_rate,
            "gradient_norm": norm if math.isfinite(norm) else None,
            "tokens_per_second": round(speed, 1),
        }


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """All whole lines; none if there is no file."""
    if path.exists():
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)
