"""What moves the weights: Muon or AdamW for the matrices inside the layers, AdamW for the embedding and the vectors.

How learning rates of one width are carried to another, so that `learning_rate` and `matrix_learning_rate` are those
of a model `reference_width` wide:

- Muon's update has a spectral norm of its rate times sqrt(max(1, outputs / inputs)), which asks for the same rate at
  every width (Yang, Simon and Bernstein 2023, condition 1; Jordan et al. 2024).
- Matrices under AdamW: by reference_width / width (Yang et al. 2022, Tensor Programs V, table 8, hidden weights).
- The embedding is tied: as an input its rate would not change with the width, as an output it would go down with it.
  It takes the geometric mean of both, sqrt(reference_width / width).
- Vectors: the same rate at every width (Tensor Programs V, table 8).
"""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import nn

from minimind.model.transformer import Transformer
from minimind.training.muon import Muon


class OptimizerSettings(BaseModel):
    """`training.optimizer` of the YAML, where each key is explained; the last two are for baselines alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float
    weight_decay: float
    matrix_optimizer: Literal["muon", "adamw"]
    matrix_learning_rate: float
    matrix_weight_decay: float
    muon_momentum: float
    reference_width: int
    schedule: Literal["linear", "cosine"]
    min_learning_rate_ratio: float
    warmup_ratio: float
    decay_ratio: float
    beta1: float
    beta2: float
    max_gradient_norm: float
    vector_weight_decay: float = 0.0
    fused: bool = True

    @model_validator(mode="after")
    def _muon_goes_with_fused(self) -> "OptimizerSettings":
        if self.matrix_optimizer == "muon" and not self.fused:
            raise ValueError("muon goes with a fused AdamW, which can leave out a step as it does")
        return self


class MuonWithAdamW(torch.optim.Optimizer):
    """Two optimizers that step as one. `state` and `param_groups` are those of both.

    Follows torch's convention for a step that the device itself may skip: where the tensor `found_inf` has been set
    on it and is not zero, weights and state stay as they are.
    """

    _step_supports_amp_scaling = True

    def __init__(self, muon: Muon, adamw: torch.optim.AdamW) -> None:
        self.parts: tuple[torch.optim.Optimizer, ...] = (muon, adamw)
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        for part in self.parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        assert closure is None
        assert getattr(self, "grad_scale", None) is None, "gradients are unscaled before the step, for clipping"
        for part in self.parts:
            part.found_inf = getattr(self, "found_inf", None)  # type: ignore[attr-defined]
            part.step()


def make_optimizer(model: Transformer, settings: OptimizerSettings, *, compiled: bool = False) -> torch.optim.Optimizer:
    """Each group has `peak_lr`, its highest learning rate, which `set_learning_rates` multiplies."""
    narrower = settings.reference_width / model.config.hidden_size
    embedding = adamw_group(model.embeddings(), settings.learning_rate * narrower**0.5, settings.weight_decay)
    vectors = adamw_group(model.vectors(), settings.learning_rate, settings.vector_weight_decay)
    if settings.matrix_optimizer == "adamw":
        matrices = adamw_group(model.matrices(), settings.matrix_learning_rate * narrower, settings.matrix_weight_decay)
        return make_adamw([matrices, embedding, vectors], settings)
    muon = Muon(
        model.matrices(),
        lr=settings.matrix_learning_rate,
        weight_decay=settings.matrix_weight_decay,
        momentum=settings.muon_momentum,
        compiled=compiled,
    )
    for group in muon.param_groups:
        group["peak_lr"] = group["lr"]
    return MuonWithAdamW(muon, make_adamw([embedding, vectors], settings))


def adamw_group(parameters: Iterable[nn.Parameter], peak_lr: float, weight_decay: float) -> dict[str, Any]:
    return {"params": list(parameters), "lr": peak_lr, "peak_lr": peak_lr, "weight_decay": weight_decay}


def make_adamw(groups: list[dict[str, Any]], settings: OptimizerSettings) -> torch.optim.AdamW:
    """Loshchilov and Hutter 2019; `fused` is one kernel over all parameters."""
    return torch.optim.AdamW(
        groups, betas=(settings.beta1, settings.beta2), eps=1e-8, fused=True if settings.fused else None
    )


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = factor * group["peak_lr"]
