"""The steps that a budget means and, where the preset is `auto`, the model that it is best spent on."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from minimind.config import SCRATCH, Budget, TrainingConfig, parse_budget
from minimind.errors import ConfigError, OutOfMemoryError
from minimind.store import Store
from minimind.training.calibration import (
    MAX_MEASURED_SECONDS,
    MEASURED_SHARE,
    Speed,
    measure_speed,
    measuring_folder,
    steps_within,
    with_steps,
)
from minimind.training.fit import find_micro_batch
from minimind.training.flops import flops_per_token, listed_flops, peak_flops
from minimind.training.ladder import LADDER
from minimind.training.optimizer import OptimizerSettings
from minimind.training.plan import Options, Plan
from minimind.training.scaling import MAX_EPOCHS, best_for_tokens, best_in_time, effective_tokens
from minimind.training.schedule import least_steps
from minimind.training.start import optimizer_settings

logger = logging.getLogger(__name__)

UNMEASURED_SECONDS = 60.0  # a budget of tokens that takes less, by its arithmetic alone, is not measured
STEPS_TO_MEASURE = 1000  # of a plan that is tried or measured; it never comes to their end


@dataclass(frozen=True)
class Task:
    """What a plan is made from."""

    section: TrainingConfig
    plans: Mapping[str, Plan]  # without steps, by the name of their model; ascending, one unless it is to be chosen
    options: Options
    windows: int  # of the holdout
    epoch_tokens: int  # as often as the sources' weights say
    unique_tokens: int
    folder: Path  # where to measure
    store: Store

    @property
    def budget(self) -> Budget:
        return parse_budget(self.section.budget)

    @property
    def is_auto(self) -> bool:
        return len(self.plans) > 1

    @property
    def parameters(self) -> dict[str, int]:
        return {name: plan.model.parameters for name, plan in self.plans.items()}

    @property
    def budget_tokens(self) -> float:
        """Of a budget of tokens or epochs."""
        return self.budget.amount * (self.epoch_tokens if self.budget.unit == "epochs" else 1)

    @property
    def needs_measuring(self) -> bool:
        """Whether the plan depends on a measurement, or its expected minutes are worth one."""
        if self.budget.unit == "seconds" or self.section.micro_batch_sequences == "auto":
            return True
        return is_long(self.plans[name_for_tokens(self)], self.budget_tokens)


class Proposal(NamedTuple):
    name: str  # of the model
    plan: Plan
    speed: Speed | None  # None: not measured
    reasons: tuple[str, ...]  # sentences


def propose(task: Task) -> Proposal:
    """Raises ConfigError for a budget that is too short, OutOfMemoryError for a model that fits into no memory."""
    proposal = propose_for_time(task) if task.budget.unit == "seconds" else propose_for_tokens(task)
    check_planned(proposal.plan, task.section.budget)
    return proposal


def check_budget(section: TrainingConfig) -> None:
    """Raises ConfigError for a budget of tokens that is too short whatever the corpus and the machine are."""
    budget = parse_budget(section.budget)
    if budget.unit == "tokens" and section.start_from == SCRATCH:  # a model to start from has phases of its own
        settings = optimizer_settings(section, warm=False)
        check_steps(math.floor(budget.amount / section.batch_tokens), section.batch_tokens, settings, section.budget)


def check_steps(steps: int, batch_tokens: int, settings: OptimizerSettings, budget: str) -> None:
    if steps < 1:
        raise ConfigError(
            "training.budget",
            [f"{budget!r} is less than one step of {batch_tokens:,} tokens; raise it or lower batch_tokens"],
        )
    if steps < (least := least_steps(settings)):
        raise ConfigError(
            "training.budget",
            [
                f"{budget!r} is {steps} steps of {batch_tokens:,} tokens, too short to finish warm-up and "
                f"decay: a warmup_ratio of {settings.warmup_ratio:g} and a decay_ratio of {settings.decay_ratio:g} "
                f"need {least}, {least * batch_tokens:,} tokens; raise it, lower batch_tokens, or set "
                "training.optimizer.warmup_ratio to 0"
            ],
        )


def check_planned(plan: Plan, budget: str) -> None:
    check_steps(plan.steps, plan.batch_tokens, plan.optimizer, budget)


# --- tokens and epochs ------------------------------------------------------------------------------------------------


def propose_for_tokens(task: Task) -> Proposal:
    name = name_for_tokens(task)
    plan = with_micro_batch(task, task.plans[name])
    plan = with_steps(plan, math.floor(task.budget_tokens / plan.batch_tokens), task.windows)
    check_planned(plan, task.section.budget)
    speed = measured(task, plan, UNMEASURED_SECONDS) if is_long(plan, plan.tokens) else None
    optimal = LADDER.law.optimal_parameters(effective_tokens(task.budget_tokens, task.unique_tokens))
    nearest = (
        f"{name} is the preset nearest to the {optimal / 1e6:,.2g}M parameters that so many tokens are best spent on"
    )
    return Proposal(name, plan, speed, (nearest,) if task.is_auto else ())


def name_for_tokens(task: Task) -> str:
    return best_for_tokens(LADDER.law, task.parameters, task.budget_tokens, task.unique_tokens)


def is_long(plan: Plan, tokens: float) -> bool:
    """Whether training takes more than UNMEASURED_SECONDS even at the device's peak."""
    return tokens > UNMEASURED_SECONDS * most_tokens_per_second(plan)


# --- time -------------------------------------------------------------------------------------------------------------


def propose_for_time(task: Task) -> Proposal:
    """The model and the steps with which the least bits per byte are expected; only what could win is measured."""
    tried: dict[str, tuple[Plan, Speed]] = {}

    def tokens_of(name: str) -> int:
        try:
            plan, _ = tried[name] = plan_in_time(task, task.plans[name])
        except OutOfMemoryError:
            if not task.is_auto:
                raise
            logger.info("training: %s does not fit into memory", name)
            return 0
        return plan.tokens if plan.steps >= least_steps(plan.optimizer) else 0

    most = {
        name: min(task.budget.amount * most_tokens_per_second(plan), most_tokens(task))
        for name, plan in task.plans.items()
    }
    name, expected = best_in_time(LADDER.law, task.parameters, task.unique_tokens, most, tokens_of)
    if name not in tried:
        raise OutOfMemoryError("no preset fits into memory; lower training.sequence_length")
    return Proposal(name, *tried[name], tuple(describe_choice(task, tried[name][0], expected)) if task.is_auto else ())


def plan_in_time(task: Task, plan: Plan) -> tuple[Plan, Speed]:
    plan = with_micro_batch(task, plan)
    seconds = task.budget.amount
    speed = measured(task, plan, seconds)
    steps = steps_within(seconds, plan, task.windows, speed, task.section.checkpoint_seconds)
    return with_steps(plan, int(min(steps, most_tokens(task) / plan.batch_tokens)), task.windows), speed


def most_tokens(task: Task) -> float:
    """That a proposal spends; who names a model gets what was asked for."""
    return MAX_EPOCHS * task.unique_tokens if task.is_auto else math.inf


def most_tokens_per_second(plan: Plan) -> float:
    """At the device's peak; no limit for a GPU of unknown peak: measuring it here would keep memory from training."""
    device = torch.device(plan.device)
    if device.type == "cuda" and listed_flops(device, plan.precision) is None:
        return math.inf
    return plan.processes * peak_flops(device, plan.precision) / flops_per_token(plan.model)


def describe_choice(task: Task, plan: Plan, expected: Mapping[str, float]) -> list[str]:
    scores = ", ".join(
        f"{name} {value:.3f}" if math.isfinite(value) else f"{name} cannot be trained in it"
        for name, value in expected.items()
    )
    said = [f"bits per byte by the ladder's law after {task.section.budget}: {scores}"]
    if left := [name for name in task.plans if name not in expected]:
        said.append(f"not measured, since they could not win at the device's peak: {', '.join(left)}")
    if plan.tokens + plan.batch_tokens > most_tokens(task):
        said.append(
            f"the corpus is too small for {task.section.budget}: training ends after {MAX_EPOCHS} epochs, as more "
            "bring nothing; add documents, or name a preset to train on"
        )
    if plan.tokens < task.unique_tokens:
        said.append(
            f"the corpus is larger than {task.section.budget} can read: "
            f"{plan.tokens / task.unique_tokens:.0%} of it is trained on"
        )
    return said


# --- what is measured -------------------------------------------------------------------------------------------------


def with_micro_batch(task: Task, plan: Plan) -> Plan:
    """As many sequences as fit, where that is asked for."""
    if task.section.micro_batch_sequences != "auto":
        return plan
    task.store.report("training", 0, None, "trying how many sequences fit into memory")
    with measuring_folder(task.folder.with_name(f"{task.folder.name}-fit")) as run:
        size = find_micro_batch(with_steps(plan, STEPS_TO_MEASURE, task.windows), task.options.shards, run.path)
    return plan.model_copy(update={"micro_batch_sequences": size, "accumulation": plan.batch_sequences // size})


def measured(task: Task, plan: Plan, budget_seconds: float) -> Speed:
    """With several models to choose from, each gets half as long: mostly no more than two are measured."""
    seconds = min(MAX_MEASURED_SECONDS, MEASURED_SHARE * budget_seconds) / min(2, len(task.plans))

    def watch() -> None:
        task.store.report("training", 0, None, f"measuring how fast this machine trains, for {task.section.budget}")

    return measure_speed(with_steps(plan, STEPS_TO_MEASURE, task.windows), task.options, seconds, task.folder, watch)
