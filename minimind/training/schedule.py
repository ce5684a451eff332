"""Learning rate by step: warm-up, constant, linear decay (WSD; Hu et al. 2024, section 4.2)."""

from minimind.training.optimizer import OptimizerSettings


def learning_rate(step: int, steps: int, settings: OptimizerSettings) -> float:
    """The rate of step `step` of `steps`, from 0. The last one has the least rate, none has zero by warm-up."""
    warmup_steps = round(settings.warmup_ratio * steps)
    decay_steps = round(settings.decay_ratio * steps)
    steps_into_decay = step + 1 - (steps - decay_steps)
    if step < warmup_steps:
        factor = (step + 1) / warmup_steps
    elif steps_into_decay > 0:
        factor = 1 - (1 - settings.min_learning_rate_ratio) * steps_into_decay / decay_steps
    else:
        factor = 1.0
    return settings.learning_rate * factor
