"""One run of one recipe: bits per byte over steps, tokens and seconds."""

import math
import statistics
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.recipe.passages import Passages
from benchmarks.recipe.recipes import Recipe, batch_sequences_of, length_of, model_of, plan_of, settings_of
from benchmarks.recipe.task import Task
from minimind.model.bits_per_byte import IGNORED
from minimind.model.transformer import Mask, Transformer
from minimind.shards.reader import ShardReader, vocabulary_size
from minimind.training.batches import Batches
from minimind.training.compilation import use_compile_cache
from minimind.training.device import choose_kernels, hardware_name
from minimind.training.fit import give_back_memory
from minimind.training.holdout import Holdout, holdout_windows
from minimind.training.loop import Trainer
from minimind.training.plan import Plan
from minimind.training.precision import choose_precision
from minimind.training.process import StopRequest

MEASURED_STEPS = 7
REFERENCE_MICRO_BATCH = 32


def run(recipe: Recipe, seed: int, task: Task) -> dict[str, Any]:
    """The row of one run: of the task's steps, or of as many as its budget is found to hold just before."""
    prepare(task)
    passages = passages_of(recipe, seed, task)
    plan = make_plan(recipe, seed, task)
    useful = plan.batch_sequences * (passages.mean_predicted if passages else plan.sequence_length)
    measuring = task.steps is None and task.tokens is None
    warmed = warm_up(make_trainer(recipe, plan, task, passages)) if measuring or plan.compiled else {}
    steps = task.steps if task.steps is not None else math.floor(steps_within(task, useful, warmed))
    if steps < 2:
        raise SystemExit(f"{recipe.name}: the budget is {steps} steps of {useful:,.0f} tokens; raise it")
    plan = plan.model_copy(update={"steps": steps, "evaluations": min(task.evaluations, steps)})
    give_back_memory(task.device)
    curve, cost = train(make_trainer(recipe, plan, task, passages), plan, task)
    return {
        "steps": steps,
        "batch_tokens": plan.batch_tokens,
        "useful_tokens_per_step": round(useful, 1),
        "sequence_length": plan.sequence_length,
        "micro_batch_sequences": plan.micro_batch_sequences,
        "parameters": plan.model.parameters,
        "precision": plan.precision,
        "compiled": plan.compiled,
        "bits_per_byte": curve[-1]["bits_per_byte"],
        "curve": curve,
        **warmed,
        **cost,
    }


def prepare(task: Task) -> None:
    """This process, as the training process sets itself up; nothing is left of what was compiled for a run before."""
    torch.set_num_threads(task.threads)
    choose_kernels(task.device)
    use_compile_cache(task.compile_cache)
    torch.compiler.reset()
    give_back_memory(task.device)


def passages_of(recipe: Recipe, seed: int, task: Task) -> Passages | None:
    reader = ShardReader(task.shards, "train")
    return Passages(reader, length_of(recipe, task.preset), seed) if recipe.padded else None


def steps_within(task: Task, useful_tokens: float, warmed: dict[str, float]) -> float:
    if task.tokens is not None:
        return task.tokens / useful_tokens
    if task.seconds is not None:
        return task.seconds / warmed["step_seconds"]
    return (task.cpu_seconds or 0) / warmed["step_cpu_seconds"]


def make_plan(recipe: Recipe, seed: int, task: Task) -> Plan:
    sequences = batch_sequences_of(recipe, task.preset)
    most = min(sequences, REFERENCE_MICRO_BATCH if recipe.padded else task.micro_batch)
    micro_batch = max(size for size in range(1, most + 1) if sequences % size == 0)
    windows = len(holdout_windows(ShardReader(task.shards, "holdout"), task.window))
    return Plan(
        model=model_of(recipe, task.preset, vocabulary_size(task.shards)),
        steps=1000,
        sequence_length=length_of(recipe, task.preset),
        micro_batch_sequences=micro_batch,
        accumulation=sequences // micro_batch,
        processes=1,
        optimizer=settings_of(recipe, task.preset),
        evaluations=1,
        evaluation_windows=min(task.holdout_windows, windows),
        seed=seed,
        device="cuda" if task.device.type == "cuda" else "cpu",
        hardware=hardware_name(task.device),
        threads=None if task.device.type == "cuda" else task.threads,
        precision=choose_precision("auto", task.device),
        compiled=task.compiled and not recipe.eager,
        max_gradient_growth=1e9,  # no step is skipped: the recipes are compared as they are
        torch=torch.__version__,
        shards={},
        **plan_of(recipe),
    )


def make_trainer(recipe: Recipe, plan: Plan, task: Task, passages: Passages | None) -> Trainer:
    trainer = Trainer(plan, task.shards)
    if recipe.plain_loss:
        trainer.replica = PlainObjective(trainer.model)
    if passages:
        trainer.batches = Batches(passages, plan.micro_batch_sequences, task.device)
    return trainer


class PlainObjective(nn.Module):
    """The loss as it is mostly written: all logits, and autograd's copies of them."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor, mask: Mask | None = None) -> tuple[Tensor, Tensor]:
        """As `minimind.training.objective.Objective`."""
        logits = self.model.logits(self.model.hidden_states(inputs, mask=mask))
        nats = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")
        return nats.detach(), nats


def warm_up(trainer: Trainer) -> dict[str, float]:
    """Seconds of the first step, with all that it compiles, and of one after that."""
    stop = NeverStop()
    seconds, cpu_seconds = [], []
    for _ in range(MEASURED_STEPS):
        started, started_cpu = time.perf_counter(), time.process_time()
        trainer.train_step(stop).loss.item()  # waits for the device
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - started_cpu)
    return {
        "first_step_seconds": round(seconds[0], 3),
        "step_seconds": statistics.median(seconds[2:]),
        "step_cpu_seconds": statistics.median(cpu_seconds[2:]),
    }


def train(trainer: Trainer, plan: Plan, task: Task) -> tuple[list[dict[str, float]], dict[str, float]]:
    """The curve, and what the steps cost."""
    stop = NeverStop()
    holdout = Holdout(task.shards, task.window, plan.evaluation_windows, plan.micro_batch_sequences)
    curve: list[dict[str, float]] = []
    tokens = wall = cpu = 0.0
    while trainer.progress.step < plan.steps:
        target = min(step for step in plan.evaluation_steps if step > trainer.progress.step)
        started, started_cpu = time.perf_counter(), time.process_time()
        while trainer.progress.step < target:
            last = trainer.train_step(stop)
        loss = last.loss.item()  # waits for the device
        wall += time.perf_counter() - started
        cpu += time.process_time() - started_cpu
        score = trainer.evaluate(holdout, stop)["holdout_bits_per_byte"]
        tokens = trainer.batches.predicted_tokens
        curve.append(
            {
                "step": target,
                "tokens": tokens,
                "seconds": round(wall, 3),
                "cpu_seconds": round(cpu, 3),
                "loss": loss,
                "bits_per_byte": score,
            }
        )
    return curve, {
        "tokens": tokens,
        "train_seconds": round(wall, 2),
        "train_cpu_seconds": round(cpu, 2),
        "tokens_per_second": round(tokens / wall, 1),
        "cpu_seconds_per_step": round(cpu / plan.steps, 4),
        "loader_share": round(trainer.batches.waited_seconds / wall, 5),
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if plan.device == "cuda" else 0,
    }


class NeverStop(StopRequest):
    def __init__(self) -> None:
        super().__init__(supervisor=0)

    def check(self) -> None:
        """Goes on."""
