"""The loss over the vocabulary, without all logits at once.

The logits of a step are by far its largest tensor: 26M parameters and 65,536 tokens have 1.7 GB of them in fp32, and
as much again for their softmax and their gradient. Here they are made for a few thousand tokens at a time, and turned
into their own gradient in place, or by one compiled kernel; the products are the same three as without (forward,
states, matrix).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from minimind.model.bits_per_byte import IGNORED
from minimind.model.transformer import Mask, Transformer

CHUNK_LOGITS = {"cuda": 1 << 26, "cpu": 1 << 22}  # values, at most; 16 MB in fp32 stay in a CPU's cache
FP16_SCALE = 1024.0  # keeps gradients of rare tokens above fp16's least number (6e-8)


# (logits [rows, V], targets [rows], z_loss, scale) -> nats and squared log normalisers, summed in fp32, and the
# gradient of the first plus z_loss times the second, times scale, in the logits' precision
IntoGradient = Callable[[Tensor, Tensor, float, float], tuple[Tensor, Tensor, Tensor]]


class Objective(nn.Module):
    """A model whose forward pass yields its loss; what DistributedDataParallel would wrap."""

    def __init__(self, model: Transformer, z_loss: float, *, compiled: bool = False) -> None:
        super().__init__()
        self.model = model
        self.z_loss = z_loss
        self.into_gradient: IntoGradient = compiled_gradient() if compiled else gradient_in_place

    def forward(self, inputs: Tensor, targets: Tensor, mask: Mask | None = None) -> tuple[Tensor, Tensor]:
        """Nats of all targets together, and what is minimised: these and the z-loss, if any. Scalars, fp32.

        `inputs` and `targets` [B, T], int64. A target of IGNORED counts nothing.
        """
        states = self.model.hidden_states(inputs, mask=mask)
        return vocabulary_loss(states, self.model.output_matrix, targets, self.z_loss, self.into_gradient)


def vocabulary_loss(
    states: Tensor, matrix: Tensor, targets: Tensor, z_loss: float, into_gradient: IntoGradient
) -> tuple[Tensor, Tensor]:
    """(nats, minimised): cross-entropy summed over `targets` [B, T], and the same plus `z_loss` times the sum of
    squared log normalisers, which keeps logits from drifting (PaLM, Chowdhery et al. 2022, section 5).

    `states` [B, T, C] and `matrix` [V, C]; products in autocast's precision, sums in fp32. Only `minimised` has a
    gradient.
    """
    rows = states.flatten(0, 1)
    losses: tuple[Tensor, Tensor] = _ChunkedLoss.apply(rows, matrix, targets.flatten(), z_loss, into_gradient)  # type: ignore[no-untyped-call]
    return losses


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, matrix: Tensor, targets: Tensor, z_loss: float, into_gradient: IntoGradient
    ) -> tuple[Tensor, Tensor]:
        dtype = _product_dtype(states)
        scale = FP16_SCALE if dtype == torch.float16 else 1.0
        cast_matrix = matrix.to(dtype)
        state_gradients = torch.empty_like(states)
        matrix_gradient = torch.zeros_like(matrix, dtype=torch.float32)
        nats = torch.zeros((), device=states.device)
        squares = torch.zeros((), device=states.device)
        rows = power_of_two(CHUNK_LOGITS[states.device.type] // len(matrix))
        with torch.autocast(states.device.type, enabled=False):
            for start in range(0, len(states), rows):
                chunk = states[start : start + rows].to(dtype)
                chunk_nats, chunk_squares, gradient = into_gradient(
                    chunk @ cast_matrix.T, targets[start : start + rows], z_loss, scale
                )
                nats += chunk_nats
                squares += chunk_squares
                state_gradients[start : start + rows] = gradient @ cast_matrix
                # sums over thousands of rows pass fp16's greatest number (65,504)
                summed = torch.float32 if dtype == torch.float16 else dtype
                matrix_gradient += gradient.to(summed).T @ chunk.to(summed)
        ctx.save_for_backward(state_gradients, matrix_gradient)
        ctx.scale = scale
        ctx.mark_non_differentiable(nats)
        return nats, nats + z_loss * squares

    @staticmethod
    def backward(ctx: Any, nats: Tensor, minimised: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        state_gradients, matrix_gradient = ctx.saved_tensors
        factor = minimised / ctx.scale
        by_states = (state_gradients.float() * factor).to(state_gradients.dtype)  # a factor in bf16 is off by 1 in 500
        return by_states, matrix_gradient * factor, None, None, None


def power_of_two(most: int) -> int:
    """The greatest one up to `most`, and 1 at least: what it divides is cut into equal chunks, of one shape."""
    return 1 << max(0, most.bit_length() - 1)


def gradient_in_place(logits: Tensor, targets: Tensor, z_loss: float, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Logits in fp32 become their gradient; others are copied first."""
    dtype, logits = logits.dtype, logits.float()
    counted = (targets != IGNORED).unsqueeze(1)
    places = targets.clamp(min=0).unsqueeze(1)
    chosen = logits.gather(1, places)
    highest = logits.amax(dim=1, keepdim=True)
    sums = logits.sub_(highest).exp_().sum(dim=1, keepdim=True)
    normalisers = sums.log() + highest
    nats = ((normalisers - chosen) * counted).sum()
    squares = (normalisers.square() * counted).sum()
    logits.mul_((1 + 2 * z_loss * normalisers) / sums * counted * scale)
    logits.scatter_add_(1, places, -scale * counted.to(logits.dtype))
    return nats, squares, logits.to(dtype)


@cache
def compiled_gradient() -> IntoGradient:
    return torch.compile(gradient_by_comparing, dynamic=False)


def gradient_by_comparing(
    logits: Tensor, targets: Tensor, z_loss: float, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As `gradient_in_place`, with no value that is written to a place of its own.

    Compiled, one kernel reads the logits and writes the gradient.
    """
    dtype, logits = logits.dtype, logits.float()
    counted = (targets != IGNORED).unsqueeze(1)
    places = targets.clamp(min=0).unsqueeze(1)
    highest = logits.amax(dim=1, keepdim=True)
    exponentials = (logits - highest).exp()
    sums = exponentials.sum(dim=1, keepdim=True)
    normalisers = sums.log() + highest
    nats = ((normalisers - logits.gather(1, places)) * counted).sum()
    squares = (normalisers.square() * counted).sum()
    shares = exponentials * ((1 + 2 * z_loss * normalisers) / sums)
    is_target = torch.arange(logits.shape[1], device=logits.device) == places
    return nats, squares, ((shares - is_target.float()) * (counted * scale)).to(dtype)


def _product_dtype(states: Tensor) -> torch.dtype:
    kind = states.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
