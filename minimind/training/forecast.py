"""What a plan is expected to take and to give, as far as that was measured, and the table that says so."""

import math
from typing import Any

from pydantic import BaseModel, ConfigDict

from minimind.training.calibration import Speed
from minimind.training.plan import Plan
from minimind.training.scaling import REPEATED_DATA, Expected

FEW_EPOCHS = 4  # nearly as good as fresh text
REPEATED = "not foreseen: a recorded plan is repeated"


class PlannedTraining(BaseModel):
    """A plan, and what it moves no sum of: where it came from and what is expected of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: Plan
    preset: str | None  # None: the YAML gives sizes
    parameters: int
    epochs: float
    speed: Speed | None  # None: not measured
    seconds: float | None  # from the start of the training process to its model
    bits_per_byte: Expected | None  # of the holdout; None: outside what was measured
    reasons: tuple[str, ...]  # sentences: how the preset was chosen, what to know about the data
    repeated: bool = False  # a recorded plan, of which nothing is foreseen

    def cost(self, price_per_hour: float | None) -> float | None:
        return None if price_per_hour is None or self.seconds is None else self.seconds / 3600 * price_per_hour

    def expected(self, price_per_hour: float | None) -> dict[str, Any]:
        """What is kept with the model, to be compared with what came of it."""
        bits_per_byte = self.bits_per_byte.model_dump() if self.bits_per_byte else None
        return {"seconds": self.seconds, "bits_per_byte": bits_per_byte, "cost": self.cost(price_per_hour)}


def plan_rows(planned: PlannedTraining, price_per_hour: float | None) -> list[tuple[str, str]]:
    """The plan as a person reads it: (name, value)."""
    plan, cost = planned.plan, planned.cost(price_per_hour)
    threads = f", {plan.threads} threads" if plan.threads else ""
    sizes = "sizes of the plan" if planned.repeated else "sizes of the config"
    rows = [
        ("model", f"{planned.preset or sizes}, {planned.parameters / 1e6:,.2f}M parameters"),
        ("tokens", f"{plan.tokens:,}"),
        ("epochs", f"{planned.epochs:.2f}"),
        ("steps", f"{plan.steps:,} of {plan.batch_tokens:,} tokens"),
        ("expected minutes", REPEATED if planned.repeated else minutes(planned.seconds)),
        ("expected bits per byte", REPEATED if planned.repeated else in_words(planned.bits_per_byte)),
        (
            "micro-batch",
            f"{plan.micro_batch_sequences} sequences of {plan.sequence_length} tokens, {plan.accumulation} a step",
        ),
        ("precision", plan.precision + (", compiled" if plan.compiled else "")),
        ("device", f"{plan.processes} x {plan.device} ({plan.hardware}{threads})"),
    ]
    if price_per_hour is not None:
        known = "not measured" if cost is None else f"{cost:,.2f} at {price_per_hour:g} an hour"
        rows.insert(6, ("cost", known))
    return rows


def minutes(seconds: float | None) -> str:
    return "not measured: by its arithmetic alone, less than one" if seconds is None else f"{seconds / 60:,.1f}"


def in_words(expected: Expected | None) -> str:
    if expected is None:
        return "outside what was measured"
    return f"{expected.value:.2f} ({expected.low:.2f} to {expected.high:.2f}, on text like the ladder's)"


def describe_repeats(epochs: float) -> list[str]:
    """What to know where the corpus is seen often."""
    if epochs <= FEW_EPOCHS:
        return []
    last = math.exp(-(epochs - 1) / REPEATED_DATA)
    return [f"the corpus is seen {epochs:.3g} times, and the last time is worth {last:.0%} of fresh text"]


def as_text(planned: PlannedTraining, price_per_hour: float | None) -> str:
    """For the log."""
    rows = plan_rows(planned, price_per_hour)
    width = max(len(name) for name, _ in rows)
    return "\n".join(
        [*(f"  {name:<{width}}  {value}" for name, value in rows), *(f"  {one}" for one in planned.reasons)]
    )
