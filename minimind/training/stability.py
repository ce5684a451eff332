"""Steps that would do harm are left out, and nobody waits for the device to find out."""

import torch
from torch import Tensor

SETTLED_STEPS = 20  # taken before a norm can be told to be unusual
MEMORY_STEPS = 100  # over about which the usual norm is the mean


class StepGuard:
    """Decides on the device whether a step is taken, by the norm of its gradient before clipping.

    A step is skipped where the norm is no number, or more than `max_growth` times the usual one: the mean of the steps
    that were taken, older ones fading. State, float32 [4]: usual norm, steps taken, steps skipped, skipped in a row.
    """

    def __init__(self, max_growth: float, device: torch.device) -> None:
        self.max_growth = max_growth
        self.state = torch.zeros(4, device=device)

    def judge(self, norm: Tensor) -> Tensor:
        """1.0 if the step is to be skipped, else 0.0: float32 scalar, as optimizers take it under `found_inf`."""
        usual, taken, skipped, in_a_row = self.state.unbind()
        grown = (taken >= SETTLED_STEPS) & (norm > self.max_growth * usual)
        skip = ~torch.isfinite(norm) | grown
        weight = (1 / (taken + 1)).clamp(min=1 / MEMORY_STEPS)
        usual = torch.where(skip, usual, usual + (norm - usual) * weight)
        found_inf = skip.float()
        self.state = torch.stack([usual, taken + 1 - found_inf, skipped + found_inf, (in_a_row + 1) * found_inf])
        return found_inf


def guarded_step(optimizer: torch.optim.Optimizer, found_inf: Tensor) -> None:
    """A step of the optimizer that changes neither weights nor state where `found_inf` is not zero.

    By the convention of torch's GradScaler: an optimizer with `_step_supports_amp_scaling` (fused ones have it) looks
    at the tensor on the device; for any other, the host has to wait for it.
    """
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.found_inf = found_inf  # type: ignore[attr-defined]
        optimizer.step()
    elif not found_inf.item():
        optimizer.step()
