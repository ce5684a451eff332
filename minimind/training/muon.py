"""Muon (Jordan et al. 2024): momentum whose matrices are orthogonalised, all of one shape at once.

`torch.optim.Muon` is the same optimizer as a loop over matrices; its definitions of the momentum, of weight decay and
of the rate's factor for tall matrices are kept.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic; steep at zero, Jordan et al. 2024
EPSILON = 1e-7


class Muon(torch.optim.Optimizer):
    """A group holds matrices of one shape. State: `momentum_buffer` by parameter, as torch's.

    The products run in bfloat16 on a GPU, where they are cheapest, and in fp32 on a CPU, where bfloat16 is rarely fast.
    """

    _step_supports_amp_scaling = True

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        momentum: float,
        compiled: bool = False,
    ) -> None:
        self.update = compiled_update() if compiled else update
        shapes = defaultdict(list)
        for matrix in matrices:
            if matrix.dim() != 2:
                raise ValueError(f"Muon is for matrices, not for a parameter of {matrix.dim()} dimensions")
            shapes[matrix.shape].append(matrix)
        groups = [{"params": parameters} for parameters in shapes.values()]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Changes nothing where `found_inf`, a tensor set on this optimizer, is not zero."""
        assert closure is None
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if moved:
                self._step_of_shape(moved, group)

    def _step_of_shape(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        device = parameters[0].device
        found_inf = getattr(self, "found_inf", None)
        weights, momenta = self.update(
            torch.stack(list(parameters)),
            torch.stack([parameter.grad for parameter in parameters if parameter.grad is not None]),
            torch.stack(buffers),
            torch.full((), group["lr"], device=device),  # a tensor, or each new rate would be compiled anew
            torch.zeros((), device=device) if found_inf is None else found_inf,
            group["weight_decay"],
            group["momentum"],
        )
        torch._foreach_copy_(list(parameters), list(weights.unbind()))
        torch._foreach_copy_(buffers, list(momenta.unbind()))


Update = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float, float], tuple[Tensor, Tensor]]


@cache
def compiled_update() -> Update:
    return torch.compile(update, dynamic=False)


def update(
    weights: Tensor,
    gradients: Tensor,
    momenta: Tensor,
    rate: Tensor,
    found_inf: Tensor,
    weight_decay: float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """New weights and momenta, [matrices, outputs, inputs] like the old ones and the gradients; rate: a scalar."""
    new_momenta = momenta.lerp(gradients, 1 - momentum)
    direction = orthogonalize(
        gradients.lerp(new_momenta, momentum), torch.bfloat16 if weights.is_cuda else torch.float32
    )
    outputs, inputs = weights.shape[-2:]
    scale = max(1.0, outputs / inputs) ** 0.5
    new_weights = weights * (1 - rate * weight_decay) - direction.to(weights.dtype) * (rate * scale)
    skipped = found_inf != 0
    return torch.where(skipped, weights, new_weights), torch.where(skipped, momenta, new_momenta)


def orthogonalize(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """`matrices` [..., rows, columns] with singular values near 1 (0.7 to 1.2), by Newton-Schulz in `dtype`."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = (matrices.mT if tall else matrices).to(dtype)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=EPSILON)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
