"""The share of the highest learning rate by step."""

import math

from minimind.training.optimizer import OptimizerSettings


def rate_factor(step: int, steps: int, settings: OptimizerSettings) -> float:
    """For step `step` of `steps`, from 0: linear warm-up, 1, then the decay, which ends with the last step.

    With a linear decay this is WSD (Hu et al. 2024, section 4.2), with a cosine that begins at once that of Loshchilov
    and Hutter 2017. The last step has the least rate; none is zero by warm-up.
    """
    warmup_steps = round(settings.warmup_ratio * steps)
    decay_steps = round(settings.decay_ratio * steps)
    steps_into_decay = step + 1 - (steps - decay_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if steps_into_decay <= 0:
        return 1.0
    decayed = steps_into_decay / decay_steps
    if settings.schedule == "cosine":
        decayed = (1 - math.cos(math.pi * decayed)) / 2
    return 1 - (1 - settings.min_learning_rate_ratio) * decayed


def least_steps(settings: OptimizerSettings) -> int:
    """The fewest that have a step of warm-up and one of decay, as far as the settings ask for them."""
    ratios = [ratio for ratio in (settings.warmup_ratio, settings.decay_ratio) if ratio]
    return max((math.floor(0.5 / ratio) + 1 for ratio in ratios), default=1)
