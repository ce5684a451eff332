"""AdamW in torch's fused version: one kernel over all parameters (Loshchilov and Hutter 2019)."""

import torch
from pydantic import BaseModel, ConfigDict

from minimind.model.transformer import Transformer


class OptimizerSettings(BaseModel):
    """`training.optimizer` of the YAML, where each key is explained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float
    min_learning_rate_ratio: float
    warmup_ratio: float
    decay_ratio: float
    weight_decay: float
    beta1: float
    beta2: float
    max_gradient_norm: float


def make_optimizer(model: Transformer, settings: OptimizerSettings) -> torch.optim.AdamW:
    """Decays matrices, the embedding included, and leaves the gains of the norms alone."""
    groups = [
        {"params": list(model.matrices()), "weight_decay": settings.weight_decay},
        {"params": list(model.vectors()), "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2), eps=1e-8, fused=True
    )
