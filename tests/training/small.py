"""Shards, inputs and a config small enough to be trained on in a second."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from minimind.config import TrainingConfig
from minimind.store import Manifest, Outcome, Recipe, Store
from minimind.training.build import TrainingInputs

VOCABULARY_SIZE = 300


def write_shard(path: Path, documents: list[np.ndarray], occurrences: list[int] | None = None) -> None:
    """One shard file as the shards stage writes it; a token stands for one byte of text."""
    offsets = np.cumsum([0, *map(len, documents)])
    tokens = np.concatenate(documents).astype(np.uint16)
    batch = pa.RecordBatch.from_pydict(
        {
            "document_id": pa.array([f"made/{path.stem}-{number}" for number in range(len(documents))]),
            "source": pa.array(["made"] * len(documents)),
            "text_bytes": pa.array([len(document) - 1 for document in documents], pa.int64()),
            "occurrences": pa.array(occurrences or [1] * len(documents), pa.int32()),
            "tokens": pa.LargeListArray.from_arrays(offsets, pa.array(tokens)),
        }
    )
    with pa.ipc.new_file(path, batch.schema) as file:
        file.write_batch(batch)


def write_token_bytes(path: Path) -> None:
    lengths = np.ones(VOCABULARY_SIZE, dtype=np.int32)
    lengths[:3] = 0
    batch = pa.RecordBatch.from_pydict({"token_bytes": pa.array(lengths)})
    with pa.ipc.new_file(path, batch.schema) as file:
        file.write_batch(batch)


def make_documents(seed: int, documents: int, longest: int) -> list[np.ndarray]:
    """Documents in which a token mostly follows from the one before: something to learn in few steps."""
    random = np.random.default_rng(seed)
    made = []
    for length in random.integers(2, longest, documents):
        tokens = random.integers(3, VOCABULARY_SIZE, length)
        for place in range(1, length):
            if random.random() < 0.9:
                tokens[place] = 3 + (tokens[place - 1] * 7 + 1) % (VOCABULARY_SIZE - 3)
        made.append(np.r_[0, tokens])
    return made


def training_inputs(store: Store, train: list[np.ndarray], holdout: list[np.ndarray]) -> TrainingInputs:
    def write_shards(folder: Path) -> Outcome:
        write_shard(folder / "train-00000.arrow", train[: len(train) // 2])
        write_shard(folder / "train-00001.arrow", train[len(train) // 2 :])
        write_shard(folder / "holdout-00000.arrow", holdout)
        write_token_bytes(folder / "token_bytes.arrow")
        return Outcome({"train_tokens": sum(map(len, train)), "holdout_tokens": sum(map(len, holdout))})

    def write_tokenizer(folder: Path) -> Outcome:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_text("{}\n")
        return Outcome({"vocabulary_size": VOCABULARY_SIZE})

    shards = Recipe("shards", {"tokens": sum(map(len, train)), "held": sum(map(len, holdout))}, {}, {}, {})
    tokenizer = Recipe("tokenizer", {}, {}, {}, {})
    return TrainingInputs(store.build(shards, write_shards), store.build(tokenizer, write_tokenizer))


def small_inputs(store: Store) -> TrainingInputs:
    return training_inputs(store, make_documents(1, 60, 120), make_documents(2, 8, 100))


def training_config(**changes) -> TrainingConfig:
    values = {
        "sizes": {
            "hidden_size": 16, "layers": 1, "heads": 2, "kv_heads": 1, "head_size": 8, "intermediate_size": 24,
        },
        "start_from": "scratch", "warm_start": {"peak_ratio": 0.5, "warmup_ratio": 0.1, "decay_ratio": 0.6},
        "sequence_length": 32, "batch_tokens": 128, "micro_batch_sequences": 2,
        "budget": "2k tokens", "price_per_hour": None,
        "device": "cpu", "devices": 1, "precision": "auto", "threads": 1, "compile": "auto",
        "document_mask": False, "zero_output_projections": True, "embedding_norm": False, "residual_scalars": False,
        "z_loss": 0.0,
        "optimizer": {
            "matrix_optimizer": "muon", "matrix_learning_rate": 2e-2, "matrix_weight_decay": 0.1, "muon_momentum": 0.95,
            "learning_rate": 1e-2, "weight_decay": 0.1, "reference_width": 16, "schedule": "linear",
            "min_learning_rate_ratio": 0.1, "warmup_ratio": 0.1, "decay_ratio": 0.4,
            "beta1": 0.9, "beta2": 0.95, "max_gradient_norm": 1.0,
        },
        "evaluations": 3, "checkpoint_seconds": 0.2, "permanent_checkpoint_steps": None, "max_gradient_growth": 20,
        "max_skipped_steps": 10, "seed": 1,
    }  # fmt: skip
    return TrainingConfig.model_validate(values | changes)


def weights(manifest: Manifest) -> bytes:
    return manifest.file("model/model.safetensors").read_bytes()
