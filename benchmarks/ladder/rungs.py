"""One rung: a model of one size, trained on a budget of tokens to the end of its decay."""

import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.recipe.recipes import SIZES as RECIPE_SIZES
from benchmarks.recipe.running import NeverStop
from minimind.config import ModelSizes, TrainingConfig, parse_budget
from minimind.model.transformer import ModelConfig
from minimind.shards.reader import ShardReader, vocabulary_size
from minimind.training.compilation import choose_compilation
from minimind.training.device import choose_kernels, find_device, hardware_name
from minimind.training.holdout import Holdout, holdout_windows
from minimind.training.loop import Trainer
from minimind.training.optimizer import OptimizerSettings
from minimind.training.plan import Plan
from minimind.training.precision import choose_precision

SIZES: dict[str, ModelSizes] = RECIPE_SIZES | {
    "small": ModelSizes(hidden_size=96, layers=3, heads=3, kv_heads=1, head_size=32, intermediate_size=288),
    "double": ModelSizes(hidden_size=192, layers=4, heads=6, kv_heads=2, head_size=32, intermediate_size=576),
}


def run_rung(section: TrainingConfig, shards: Path, windows: int) -> dict[str, Any]:
    """What the trained model scores on `windows` of the holdout, and what it cost."""
    plan = plan_of(section, shards, windows)
    torch.set_num_threads(plan.threads or 1)
    choose_kernels(torch.device(plan.device))
    trainer, stop = Trainer(plan, shards), NeverStop()
    started, started_cpu = time.perf_counter(), time.process_time()
    for _ in range(plan.steps):
        last = trainer.train_step(stop)
    loss = last.loss.item()  # waits for the device
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    holdout = Holdout(shards, plan.sequence_length, plan.evaluation_windows, plan.micro_batch_sequences)
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "vocabulary": plan.model.vocabulary_size,
        "tokens": plan.tokens,
        "unique_tokens": trainer.sequences.tokens,
        "batch_tokens": plan.batch_tokens,
        "steps": plan.steps,
        "sequence_length": plan.sequence_length,
        "loss": loss,
        "bits_per_byte": trainer.evaluate(holdout, stop)["holdout_bits_per_byte"],
        "holdout_windows": plan.evaluation_windows,
        "precision": plan.precision,
        "threads": plan.threads,
        "train_seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "torch": torch.__version__,
    }


def plan_of(section: TrainingConfig, shards: Path, windows: int) -> Plan:
    device = find_device(section.device)
    micro_batch = 64 if section.micro_batch_sequences == "auto" else section.micro_batch_sequences
    sequences = section.batch_tokens // section.sequence_length
    micro_batch = max(size for size in range(1, micro_batch + 1) if sequences % size == 0)
    all_windows = len(holdout_windows(ShardReader(shards, "holdout"), section.sequence_length))
    assert section.sizes
    assert section.threads != "auto"
    return Plan(
        model=ModelConfig(
            vocabulary_size=vocabulary_size(shards),
            max_positions=section.sequence_length,
            embedding_norm=section.embedding_norm,
            residual_scalars=section.residual_scalars,
            **section.sizes.model_dump(),
        ),
        zero_output_projections=section.zero_output_projections,
        steps=int(parse_budget(section.budget).amount) // section.batch_tokens,
        sequence_length=section.sequence_length,
        micro_batch_sequences=micro_batch,
        accumulation=sequences // micro_batch,
        processes=1,
        document_mask=section.document_mask,
        z_loss=section.z_loss,
        optimizer=OptimizerSettings(**section.optimizer.model_dump()),
        evaluations=1,
        evaluation_windows=min(windows, all_windows),
        seed=section.seed,
        device="cuda" if device.type == "cuda" else "cpu",
        hardware=hardware_name(device),
        threads=None if device.type == "cuda" else section.threads,
        precision=choose_precision(section.precision, device),
        max_gradient_growth=section.max_gradient_growth,
        compiled=choose_compilation(section.compile, device),
        torch=torch.__version__,
        shards={},
    )
