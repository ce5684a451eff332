"""The recipes that are compared: ours, ours with one ingredient changed, and the reference's."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from minimind.config import PRESETS, ModelSizes, TrainingConfig, load_config
from minimind.model.transformer import ModelConfig
from minimind.training.optimizer import OptimizerSettings

CONFIG = Path(__file__).parents[2] / "configs" / "legal-en.yaml"
SIZES: dict[str, ModelSizes] = dict(PRESETS) | {
    "micro": ModelSizes(hidden_size=64, layers=3, heads=2, kv_heads=1, head_size=32, intermediate_size=192),
}
SEQUENCE_LENGTHS = {"micro": 256, "tiny": 256, "26m": 1024, "64m": 1024, "124m": 1024}
BATCH_TOKENS = {"micro": 4096, "tiny": 4096, "26m": 131_072, "64m": 131_072, "124m": 262_144}
REFERENCE_LENGTH = 340
REFERENCE_ROWS = {"micro": 12, "tiny": 12}  # a batch; else 32 rows, 8 times: too few steps in a small budget


@dataclass(frozen=True)
class Recipe:
    name: str
    says: str
    optimizer: dict[str, Any] = field(default_factory=dict)  # changes to ours
    model: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    padded: bool = False  # one passage a row
    reference_batch: bool = False
    plain_loss: bool = False  # cross_entropy of all logits at once
    eager: bool = False  # even where the others are compiled


REFERENCE: dict[str, Any] = {
    "learning_rate": 5e-4, "weight_decay": 0.01, "vector_weight_decay": 0.01,
    "matrix_optimizer": "adamw", "matrix_learning_rate": 5e-4, "matrix_weight_decay": 0.01,
    "schedule": "cosine", "min_learning_rate_ratio": 0.1, "warmup_ratio": 0.0, "decay_ratio": 1.0,
    "beta1": 0.9, "beta2": 0.999, "fused": False,
}  # fmt: skip
REFERENCE_PLAN = {
    "zero_output_projections": False, "document_mask": False, "z_loss": 0.0,
}  # fmt: skip
REFERENCE_MODEL = {"embedding_norm": False, "residual_scalars": False}


def adamw(rate: float) -> dict[str, Any]:
    return {"matrix_optimizer": "adamw", "matrix_learning_rate": rate}


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("ours", "as in configs/: Muon 0.01, WSD, packed"),
        Recipe("muon-0.005", "half the matrices' rate", {"matrix_learning_rate": 0.005}),
        Recipe("muon-0.02", "twice the matrices' rate", {"matrix_learning_rate": 0.02}),
        Recipe("muon-0.04", "four times the matrices' rate", {"matrix_learning_rate": 0.04}),
        Recipe("adamw-2e-4", "AdamW for the matrices, 2e-4", adamw(2e-4)),
        Recipe("adamw-5e-4", "AdamW for the matrices, 5e-4", adamw(5e-4)),
        Recipe("adamw-1e-3", "AdamW for the matrices, 1e-3", adamw(1e-3)),
        Recipe("adamw-3e-3", "AdamW for the matrices, 3e-3", adamw(3e-3)),
        Recipe("rate-3e-3", "half the embedding's rate", {"learning_rate": 3e-3}),
        Recipe("rate-1.2e-2", "twice the embedding's rate", {"learning_rate": 1.2e-2}),
        Recipe("undecayed", "no weight decay", {"weight_decay": 0.0, "matrix_weight_decay": 0.0}),
        Recipe("to-zero", "the rate decays to zero, not to a twentieth", {"min_learning_rate_ratio": 0.0}),
        Recipe("cosine", "cosine to a tenth instead of WSD", {
            "schedule": "cosine", "decay_ratio": 0.98, "min_learning_rate_ratio": 0.1}),
        Recipe("linear", "linear decay from the warm-up on", {"decay_ratio": 0.98}),
        Recipe("zero-init", "output projections begin at zero", plan={"zero_output_projections": True}),
        Recipe("z-loss", "z-loss 1e-4", plan={"z_loss": 1e-4}),
        Recipe("document-mask", "attention within documents", plan={"document_mask": True}),
        Recipe("embedding-norm", "a norm behind the embedding", model={"embedding_norm": True}),
        Recipe("residual-scalars", "a learned factor a block", model={"residual_scalars": True}),
        Recipe("eager", "not compiled where the others are", eager=True),
        Recipe("reference", "the reference's recipe: padded, eager, its loss over all logits", REFERENCE,
               REFERENCE_MODEL, REFERENCE_PLAN, padded=True, reference_batch=True, plain_loss=True, eager=True),
        Recipe("reference-packed", "the same packed and fused, with our loss, compiled where ours is",
               REFERENCE | {"fused": True}, REFERENCE_MODEL, REFERENCE_PLAN, reference_batch=True),
    )
}  # fmt: skip
BASELINES = ("reference", "reference-packed")


@cache
def ours() -> TrainingConfig:
    """The recipe that the configs have."""
    return load_config(CONFIG).training


def model_of(recipe: Recipe, preset: str, vocabulary_size: int) -> ModelConfig:
    length = length_of(recipe, preset)
    ingredients = {name: getattr(ours(), name) for name in ("embedding_norm", "residual_scalars")} | recipe.model
    return ModelConfig(vocabulary_size, max_positions=length, **SIZES[preset].model_dump(), **ingredients)


def plan_of(recipe: Recipe) -> dict[str, Any]:
    """Ingredients that are no setting of the optimizer."""
    names = ("zero_output_projections", "document_mask", "z_loss")
    return {name: getattr(ours(), name) for name in names} | recipe.plan


def settings_of(recipe: Recipe, preset: str) -> OptimizerSettings:
    changes = dict(recipe.optimizer)
    if recipe.reference_batch:  # its rates are meant for every width
        changes["reference_width"] = SIZES[preset].hidden_size
    return OptimizerSettings(**ours().optimizer.model_dump() | changes)


def length_of(recipe: Recipe, preset: str) -> int:
    return REFERENCE_LENGTH if recipe.reference_batch else SEQUENCE_LENGTHS[preset]


def batch_sequences_of(recipe: Recipe, preset: str) -> int:
    if recipe.reference_batch:
        return REFERENCE_ROWS.get(preset, 256)
    return BATCH_TOKENS[preset] // SEQUENCE_LENGTHS[preset]
