"""Micro-batches on their device: on a GPU a thread reads and pins the next one while this one is computed."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from minimind.model.bits_per_byte import IGNORED


class Rows(Protocol):
    def batch(self, first: int, sequences: int) -> tuple[Tensor, Tensor]: ...


class Batch(NamedTuple):
    inputs: Tensor  # int64 [B, T]
    targets: Tensor  # the same; IGNORED where there is none
    predicted: int  # targets that count


class Batches:
    def __init__(self, rows: Rows, sequences: int, device: torch.device) -> None:
        self.rows, self.sequences, self.device = rows, sequences, device
        self.waited_seconds = 0.0  # that training stood still for its data, all in all
        self.predicted_tokens = 0  # handed out, padding left out
        self._reader = ThreadPoolExecutor(1) if device.type == "cuda" else None
        self._coming: tuple[int, Future[Batch]] | None = None

    def take(self, first: int, following: int) -> Batch:
        """The micro-batch that begins with the `first`-th sequence of training; `following` will be asked for next."""
        started = time.perf_counter()
        batch = self._finish(first)
        if self._reader:
            self._coming = following, self._reader.submit(self._read, following)
        self.waited_seconds += time.perf_counter() - started
        self.predicted_tokens += batch.predicted
        return self._send(batch)

    def _finish(self, first: int) -> Batch:
        if self._coming and self._coming[0] == first:
            return self._coming[1].result()
        return self._read(first)

    def _read(self, first: int) -> Batch:
        inputs, targets = (pin(tensor, self.device) for tensor in self.rows.batch(first, self.sequences))
        return Batch(inputs, targets, predicted=int((targets != IGNORED).sum()))

    def _send(self, batch: Batch) -> Batch:
        return Batch(send(batch.inputs, self.device), send(batch.targets, self.device), batch.predicted)


def pin(tensor: Tensor, device: torch.device) -> Tensor:
    """In one piece, and for a GPU in memory that it reads by itself: nobody waits for the copy."""
    tensor = tensor.contiguous()
    return tensor.pin_memory() if device.type == "cuda" else tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Queued behind what the device was given before."""
    return tensor.to(device, non_blocking=True)
