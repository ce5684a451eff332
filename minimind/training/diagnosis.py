"""Known patterns in the metrics of a training, in plain words. Needs the lines of metrics.jsonl and nothing else."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Lines = Sequence[dict[str, Any]]

MOST_LOSSES = 4000  # that are looked at, evenly spread over a longer training
RISE = 1.1  # of the smoothed loss over its least, from which it has diverged
SKIPPED_SHARE = 0.01  # of all steps
DEAD_CONTRIBUTION = 1e-3  # of a layer's output to what it was given, below which the layer does nothing
STALL_SHARE = 0.05  # of the time spent waiting for data
OVERFITTED = 1.01  # of the holdout loss over its least; below, it has not risen


class Finding(NamedTuple):
    pattern: str
    sentence: str


def diagnose(lines: Lines, epochs: float) -> list[Finding]:
    """What is wrong with a training of so many epochs; nothing, where no known pattern shows."""
    rules: list[Callable[[Lines, float], str | None]] = [diverged, skipping, dead_layers, data_stall, overfitted]
    found = [(rule.__name__.replace("_", " "), rule(lines, epochs)) for rule in rules]
    return [Finding(pattern, sentence) for pattern, sentence in found if sentence]


def diverged(lines: Lines, epochs: float) -> str | None:
    told = [line for line in lines if line.get("loss") is not None]
    told = told[:: math.ceil(len(told) / MOST_LOSSES) or 1]
    losses, steps = [line["loss"] for line in told], [line["step"] for line in told]
    width = max(5, len(losses) // 20)
    means = [sum(losses[end - width : end]) / width for end in range(width, len(losses) + 1)]
    if not means or means[-1] <= RISE * min(means):
        return None
    scores = [line["holdout_loss"] for line in lines if line.get("holdout_loss") is not None]
    if scores and scores[-1] <= OVERFITTED * min(scores):
        return None  # batches of few documents differ by as much
    lowest = means.index(min(means))
    return (
        f"The loss rose again, from {means[lowest]:.2f} at step {steps[lowest + width - 1]:,} to {means[-1]:.2f} at "
        "the end: the training diverged. Lower training.optimizer.learning_rate and matrix_learning_rate, or lengthen "
        "warmup_ratio."
    )


def skipping(lines: Lines, epochs: float) -> str | None:
    skipped = lines[-1].get("skipped_steps", 0) if lines else 0
    if skipped <= SKIPPED_SHARE * len(lines):
        return None
    return (
        f"{skipped:,} of {len(lines):,} steps were skipped, since their gradient exploded or was no number. "
        "Lower training.optimizer.learning_rate and matrix_learning_rate, or lengthen warmup_ratio; look for documents "
        "unlike all others."
    )


def dead_layers(lines: Lines, epochs: float) -> str | None:
    observed = [line for line in lines if any(name.startswith("contribution/") for name in line)]
    late = observed[-max(2, len(observed) // 3) :]
    if len(observed) < 3:
        return None
    most: dict[str, float] = defaultdict(float)
    for line in late:
        for name, value in line.items():
            if name.startswith("contribution/") and value is not None:
                most[name.partition("/")[2]] = max(most[name.partition("/")[2]], value)
    dead = [layer.replace("_", " ") for layer, value in sorted(most.items()) if value < DEAD_CONTRIBUTION]
    if not dead:
        return None
    return (
        f"{', '.join(dead).capitalize()} of {len(most)} (counted from 0) added less than {DEAD_CONTRIBUTION:.1%} to "
        "what went through: dead. Lower the rates or weight decays of training.optimizer, or train fewer layers."
    )


def data_stall(lines: Lines, epochs: float) -> str | None:
    shares = [line["data_stall"] for line in lines if "data_stall" in line]
    late = shares[len(shares) // 2 :]
    if not late or sum(late) / len(late) <= STALL_SHARE:
        return None
    return (
        f"{sum(late) / len(late):.0%} of the time went into waiting for data, not into arithmetic. The shards should "
        "lie on a local disk; another program may be keeping the processor busy."
    )


def overfitted(lines: Lines, epochs: float) -> str | None:
    """Only where documents were seen more than once: before that, nothing can be learned by heart."""
    scored = [line for line in lines if line.get("holdout_loss") is not None]
    if epochs <= 1 or len(scored) < 3:
        return None
    best = min(scored, key=lambda line: line["holdout_loss"])
    last = scored[-1]
    if last["holdout_loss"] <= OVERFITTED * best["holdout_loss"] or not _fell(lines, best["step"]):
        return None
    when = epochs * best["tokens"] / last["tokens"]
    return (
        f"The holdout's loss was lowest, {best['holdout_loss']:.3f}, after {when:.1f} epochs and rose to "
        f"{last['holdout_loss']:.3f} by the end of {epochs:.1f}, while the training loss kept falling: the model "
        "learns its documents by heart. Add documents, lower training.budget, or choose a smaller model."
    )


def _fell(lines: Lines, step: int) -> bool:
    """Whether the mean training loss around the end is below that around `step`."""
    losses = [(line["step"], line["loss"]) for line in lines if line.get("loss") is not None]
    width = max(5, len(losses) // 20)
    until = [loss for at, loss in losses if at <= step][-width:]
    end = [loss for _, loss in losses[-width:]]
    return bool(until) and sum(end) / len(end) < sum(until) / len(until)
