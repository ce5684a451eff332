"""The recipes that are compared: ours, ours with one ingredient changed, and the reference's."""

from dataclasses import dataclass, field
from typing import Any

from minimind.config import PRESETS, ModelSizes
from minimind.model.transformer import ModelConfig
from minimind.training.optimizer import OptimizerSettings

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
    deterministic: bool = True  # kernels, as the training process asks for them


OURS: dict[str, Any] = {
    "learning_rate": 3e-3, "weight_decay": 0.1,
    "matrix_optimizer": "muon", "matrix_learning_rate": 0.02, "matrix_weight_decay": 0.1, "muon_momentum": 0.95,
    "reference_width": 128, "schedule": "linear", "min_learning_rate_ratio": 0.05, "warmup_ratio": 0.02,
    "decay_ratio": 0.5, "beta1": 0.9, "beta2": 0.95, "max_gradient_norm": 1.0,
}  # fmt: skip
OUR_PLAN: dict[str, Any] = {"zero_output_projections": True, "document_mask": False, "z_loss": 0.0}

REFERENCE: dict[str, Any] = {
    "learning_rate": 5e-4, "weight_decay": 0.01, "vector_weight_decay": 0.01,
    "matrix_optimizer": "adamw", "matrix_learning_rate": 5e-4, "matrix_weight_decay": 0.01,
    "schedule": "cosine", "min_learning_rate_ratio": 0.1, "warmup_ratio": 0.0, "decay_ratio": 1.0,
    "beta1": 0.9, "beta2": 0.999, "fused": False,
}  # fmt: skip
REFERENCE_PLAN = {"zero_output_projections": False, "compiled": False}
ADAMW = {"matrix_optimizer": "adamw"}

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("ours", "Muon, WSD, zero-initialised output projections, packed"),
        Recipe("adamw", "AdamW for the matrices, 3e-3", ADAMW | {"matrix_learning_rate": 3e-3}),
        Recipe("adamw-2e-4", "AdamW for the matrices, 2e-4", ADAMW | {"matrix_learning_rate": 2e-4}),
        Recipe("muon-0.005", "a quarter of the matrices' rate", {"matrix_learning_rate": 0.005}),
        Recipe("adamw-5e-4", "AdamW for the matrices, 5e-4", ADAMW | {"matrix_learning_rate": 5e-4}),
        Recipe("adamw-1e-3", "AdamW for the matrices, 1e-3", ADAMW | {"matrix_learning_rate": 1e-3}),
        Recipe("adamw-6e-3", "AdamW for the matrices, 6e-3", ADAMW | {"matrix_learning_rate": 6e-3}),
        Recipe(
            "adamw-normal-init",
            "AdamW for the matrices, 3e-3, and normal-init",
            ADAMW | {"matrix_learning_rate": 3e-3},
            plan={"zero_output_projections": False},
        ),
        Recipe("muon-0.01", "half the matrices' rate", {"matrix_learning_rate": 0.01}),
        Recipe("muon-0.04", "twice the matrices' rate", {"matrix_learning_rate": 0.04}),
        Recipe("rate-6e-3", "twice the embedding's rate", {"learning_rate": 6e-3}),
        Recipe("undecayed", "no weight decay", {"weight_decay": 0.0, "matrix_weight_decay": 0.0}),
        Recipe("cosine", "cosine to a tenth instead of WSD", {
            "schedule": "cosine", "decay_ratio": 0.98, "min_learning_rate_ratio": 0.1}),
        Recipe("linear", "linear decay from the warm-up on", {"decay_ratio": 0.98}),
        Recipe("to-zero", "decay to zero", {"min_learning_rate_ratio": 0.0}),
        Recipe(
            "normal-init",
            "output projections scaled by depth, as in configs/",
            plan={"zero_output_projections": False},
        ),
        Recipe("z-loss", "z-loss 1e-4", plan={"z_loss": 1e-4}),
        Recipe("document-mask", "attention within documents", plan={"document_mask": True}),
        Recipe("embedding-norm", "a norm behind the embedding", model={"embedding_norm": True}),
        Recipe("residual-scalars", "a learned factor a block", model={"residual_scalars": True}),
        Recipe("any-kernels", "kernels need not be deterministic (differs on a GPU)", deterministic=False),
        Recipe("reference", "the reference's recipe", REFERENCE, plan=REFERENCE_PLAN, padded=True,
               reference_batch=True, deterministic=False),
        Recipe("reference-packed", "the same, packed and fused, compiled on a GPU", REFERENCE | {"fused": True},
               plan={"zero_output_projections": False}, reference_batch=True, deterministic=False),
    )
}  # fmt: skip


def model_of(recipe: Recipe, preset: str, vocabulary_size: int) -> ModelConfig:
    length = length_of(recipe, preset)
    return ModelConfig(vocabulary_size, max_positions=length, **SIZES[preset].model_dump(), **recipe.model)


def settings_of(recipe: Recipe, preset: str) -> OptimizerSettings:
    changes = dict(recipe.optimizer)
    if recipe.reference_batch:  # its rates are meant for every width
        changes["reference_width"] = SIZES[preset].hidden_size
    return OptimizerSettings(**OURS | changes)


def length_of(recipe: Recipe, preset: str) -> int:
    return REFERENCE_LENGTH if recipe.reference_batch else SEQUENCE_LENGTHS[preset]


def batch_sequences_of(recipe: Recipe, preset: str) -> int:
    if recipe.reference_batch:
        return REFERENCE_ROWS.get(preset, 256)
    return BATCH_TOKENS[preset] // SEQUENCE_LENGTHS[preset]
