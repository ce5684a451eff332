"""What a training starts from, where it is not scratch: a model in Qwen3 format, and the schedule that goes with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minimind.config import ModelSizes, TrainingConfig
from minimind.digests import sha256_of_file
from minimind.errors import ConfigError
from minimind.model.hugging_face import check_tensors, read_config, weight_files
from minimind.model.transformer import ModelConfig
from minimind.training.optimizer import OptimizerSettings


@dataclass(frozen=True)
class Start:
    folder: Path  # config.json, safetensors, tokenizer.json
    described: Mapping[str, str] = field(default_factory=dict)  # for the manifest: name and version, or folder
    training: str | None = None  # fingerprint of the build that made it, where it is one of this store

    def files(self) -> dict[str, str]:
        """File name -> sha256 of what decides about the weights."""
        paths = [self.folder / "config.json", *weight_files(self.folder)]
        return {path.name: sha256_of_file(path) for path in paths}


def check_fits(section: TrainingConfig, folder: Path) -> tuple[str, ModelConfig]:
    """The candidate that has the sizes of the folder's model, and that model's config.

    Raises ConfigError, with all that is wrong, if this section cannot go on from it, and ModelNotFoundError if it is no
    whole model in Qwen3 format.
    """
    there = read_config(folder)
    check_tensors(folder)
    problems = []
    others = {name: differing(there, sizes) for name, sizes in section.candidates.items()}
    name, other = min(others.items(), key=lambda item: len(item[1]))
    if other:
        where = f"training.preset {name}" if section.preset else "training.sizes"
        problems.append(f"its sizes are not those of {where}: {', '.join(other)}; give its sizes in training.sizes")
    if section.sequence_length > there.max_positions:
        problems.append(
            f"it knows {there.max_positions:,} positions, and training.sequence_length is {section.sequence_length:,}; "
            f"lower that to {there.max_positions:,} or less"
        )
    if there.tied_embeddings and section.embedding_norm:
        problems.append("it has no norm behind its embedding; set training.embedding_norm to false")
    if not there.tied_embeddings and not section.embedding_norm:
        problems.append(
            "it has an output matrix of its own, and here the embedding is that matrix; set training.embedding_norm to "
            "true if it was trained here with one, or start from another model"
        )
    if problems:
        raise ConfigError(f"training.start_from ({folder})", problems)
    return name, there


def differing(there: ModelConfig, sizes: ModelSizes) -> list[str]:
    """In words, each size that a model has otherwise."""
    asked = sizes.model_dump()
    return [
        f"{name} is {getattr(there, name)}, not {size}" for name, size in asked.items() if getattr(there, name) != size
    ]


def check_tokenizer(start: Start, tokenizer: str, vocabulary_size: int) -> None:
    """Raises ConfigError unless `tokenizer`, a sha256, is the one whose ids the model knows."""
    problems = []
    path = start.folder / "tokenizer.json"
    if not path.is_file():
        problems.append("it has no tokenizer.json beside it, so that nobody knows what its ids mean; put it there")
    elif sha256_of_file(path) != tokenizer:
        problems.append("its tokenizer is not the one of this run; set tokenizer.keep to what training.start_from is")
    known = read_config(start.folder).vocabulary_size
    if known != vocabulary_size:
        problems.append(
            f"its vocabulary has {known:,} tokens, the tokenizer {vocabulary_size:,}; they have to be equal"
        )
    if problems:
        raise ConfigError(f"training.start_from ({start.folder})", problems)


def optimizer_settings(section: TrainingConfig, warm: bool) -> OptimizerSettings:
    """With the phases and the peak of `warm_start`, where there is a model to start from."""
    values = section.optimizer.model_dump()
    if warm:
        phases = section.warm_start
        values |= {"warmup_ratio": phases.warmup_ratio, "decay_ratio": phases.decay_ratio}
        values |= {name: phases.peak_ratio * values[name] for name in ("learning_rate", "matrix_learning_rate")}
    return OptimizerSettings(**values)
