"""What a GPU does for a micro-batch, recorded once and replayed.

A forward and a backward pass are some hundreds of kernels, which Python hands over one by one; where it is slower at
that than the GPU at computing, the GPU waits. A recording (a CUDA graph) is handed over as one.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from minimind.training.batches import Batch

REHEARSALS = 2  # before the recording: kernels are compiled and chosen, and gradients get their places

Work = Callable[[Tensor, Tensor, Tensor], Tensor]  # inputs [B, T], targets [B, T], divisor -> nats, scalar


class Recording:
    """Work that adds to the gradients of `parameters`, for batches of one shape.

    It reads and writes the same memory each time: weights have to be changed in place, and gradients to be cleared by
    `clear_gradients`, which leaves them where they are.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.graph: torch.cuda.CUDAGraph | None = None

    def play(self, work: Work, batch: Batch, divisor: int) -> Tensor:
        """The work's nats, which the next call overwrites. The first call, before which no gradient is there, records,
        and the others do what was recorded.

        Queued like any other work; nothing here waits for the GPU, but for the recording.
        """
        if self.graph is None:
            self.graph = self._record(work, batch)
        self.inputs.copy_(batch.inputs, non_blocking=True)
        self.targets.copy_(batch.targets, non_blocking=True)
        self.divisor.fill_(divisor)
        self.graph.replay()
        return self.nats

    def _record(self, work: Work, batch: Batch) -> torch.cuda.CUDAGraph:
        self.inputs, self.targets = batch.inputs.clone(), batch.targets.clone()
        self.divisor = torch.ones((), device=batch.inputs.device)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(REHEARSALS):
                work(self.inputs, self.targets, self.divisor)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # thread_local: another thread may pin the next batch's memory meanwhile
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.nats = work(self.inputs, self.targets, self.divisor)
        self.clear_gradients()
        return graph

    def clear_gradients(self) -> None:
        """To zero, in their place."""
        torch._foreach_zero_([parameter.grad for parameter in self.parameters if parameter.grad is not None])
